"""`gateway submit`: send a workflow, watch it, save what it makes."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pybase64

from gateway.cli import saving
from gateway.cli.client import Client, Refused
from gateway.cli.failure import CommandFailed
from gateway.cli.follow import TERMINAL
from gateway.cli.watch import failure

#: Takes a job's record.
Watcher = Callable[[dict[str, Any]], None]

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
ACCEPTED = 202
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
                job = await self._client.ask("GET", self._path)
                while answer.status == ACCEPTED and job["state"] not in TERMINAL:
                    # The file asks for a webhook: the answer came before the end.
                    await asyncio.sleep(_POLL_S)
                    job = await self._client.ask("GET", self._path)
                polling.cancel()
                watch(job)
                if (failed := failure(job)) is not None:
                    raise failed
                whole = None if answer.status == ACCEPTED else answer
                return job, await self._save(job, whole, folder)
        except asyncio.CancelledError:
            await self._cancel()
            raise
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    async def send(self) -> str:
        """Return the job's id once it is accepted; who cancels this later leaves it running."""
        headers = {**_JSON, "Prefer": "respond-async"}
        async with self._client.request("POST", "/prompt", data=self._body, headers=headers):
            return self.job_id

    async def collect(self, job: dict[str, Any], folder: Path) -> list[Path]:
        """Save the outputs of a job that succeeded; raises CommandFailed."""
        try:
            return await self._save(job, None, folder)
        except Refused as refused:
            if refused.code != "output_not_found":
                raise
            raise CommandFailed(
                refused.message,
                hint="Outputs stay for OUTPUT_TTL_S after the end; submit without --async then.",
            ) from None

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
        self, job: dict[str, Any], answer: aiohttp.ClientResponse | None, folder: Path
    ) -> list[Path]:
        names = saving.unique_names(job["outputs"])
        files = [folder / name for name in names]
        for entry, file in zip(job["outputs"], files, strict=True):
            try:
                await self._fetch(entry["index"], file)
            except Refused as refused:
                if refused.code != "output_not_found" or answer is None:
                    raise
                # With OUTPUT_TTL_S=0 the files are gone by now; the answer holds them too.
                images = orjson.loads(await answer.read())["images"]
                await saving.write(file, saving.once(pybase64.b64decode(images[entry["index"]])))
        return files

    async def _fetch(self, index: int, file: Path) -> None:
        async with self._client.request("GET", f"{self._path}/outputs/{index}") as response:
            await saving.write(file, response.content.iter_chunked(_CHUNK))
