"""`gateway submit`: send a workflow, watch it, save what it makes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp
import orjson
import pybase64

from gateway.cli.client import Client, Refused
from gateway.cli.failure import CommandFailed

Watcher = Callable[[dict[str, Any]], None]

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_POLL_S = 0.25
_CANCEL_TIMEOUT_S = 5.0
_CHUNK = 256 * 1024


class Submission:
    """One job from the command line, from its POST to its files."""

    def __init__(self, client: Client, body: dict[str, Any]) -> None:
        self.job_id = str(uuid.uuid4())
        self._client = client
        self._body = orjson.dumps({**body, "id": self.job_id})
        self._path = f"/jobs/{self.job_id}"

    async def run(self, folder: Path, watch: Watcher) -> tuple[dict[str, Any], list[Path]]:
        """Return the job's record and the files that were saved in `folder`.

        `watch` gets the record from time to time. When this is cancelled, so is the job.
        """
        polling = asyncio.create_task(self._poll(watch))
        try:
            async with self._client.request(
                "POST", "/prompt", data=self._body, headers=_JSON
            ) as answer:
                polling.cancel()
                job = await self._client.ask("GET", self._path)
                watch(job)
                return job, await self._save(job, answer, folder)
        except asyncio.CancelledError:
            await self._cancel()
            raise
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    async def _poll(self, watch: Watcher) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            # Not there before it is accepted; and what ends the wait is the other request.
            with contextlib.suppress(CommandFailed):
                watch(await self._client.ask("GET", self._path))

    async def _cancel(self) -> None:
        with contextlib.suppress(CommandFailed, TimeoutError):
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                await self._client.ask("POST", f"{self._path}/cancel")

    async def _save(
        self, job: dict[str, Any], answer: aiohttp.ClientResponse, folder: Path
    ) -> list[Path]:
        names = unique_names(job["outputs"])
        files = [folder / name for name in names]
        for entry, file in zip(job["outputs"], files, strict=True):
            try:
                await self._fetch(entry["index"], file)
            except Refused as refused:
                if refused.code != "output_not_found":
                    raise
                # With OUTPUT_TTL_S=0 the files are gone by now; the answer holds them too.
                images = orjson.loads(await answer.read())["images"]
                await _write(file, _once(pybase64.b64decode(images[entry["index"]])))
        return files

    async def _fetch(self, index: int, file: Path) -> None:
        async with self._client.request("GET", f"{self._path}/outputs/{index}") as response:
            await _write(file, response.content.iter_chunked(_CHUNK))


def unique_names(outputs: list[dict[str, Any]]) -> list[str]:
    """Return a file name for each output; a name that was there already gets the index."""
    names: list[str] = []
    for entry in outputs:
        name = PurePosixPath(entry["filename"].replace("\\", "/")).name
        name = "output" if name in ("", "..") else name
        names.append(f"{entry['index']}-{name}" if name in names else name)
    return names


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _write(file: Path, chunks: AsyncIterator[bytes]) -> None:
    """Write a file beside its place, and rename it when it is whole."""
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with await asyncio.to_thread(_create, part) as target:
            async for chunk in chunks:
                await asyncio.to_thread(target.write, chunk)
        await asyncio.to_thread(os.replace, part, file)
    except OSError as failure:
        if isinstance(failure, aiohttp.ClientError | TimeoutError):
            raise
        raise CommandFailed(f"{file}: {failure.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def _create(part: Path) -> Any:
    part.parent.mkdir(parents=True, exist_ok=True)
    return part.open("wb")
