"""The 200 body about a job, streamed: pictures go from the disk into base64, never whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import orjson
import pybase64

from gateway import graph
from gateway.jobs.estimate import Estimate, Place
from gateway.jobs.job import Job, State
from gateway.opening import opened

#: Bytes of a file read at a time; a multiple of 3, so that pieces of base64 join without padding.
CHUNK = 3 * 65536

#: An answer up to this size is made in one go: fewer hops than its pieces would take.
SMALL = 512 * 1024


@dataclass(frozen=True)
class FilePart:
    """A file that stands in the body as base64; `size` in bytes as it was when collected."""

    path: Path
    size: int

    @property
    def encoded_size(self) -> int:
        """Length of its base64."""
        return (self.size + 2) // 3 * 4


@dataclass(frozen=True)
class Body:
    """A JSON body in pieces, and its length in bytes."""

    parts: list[bytes | FilePart]

    @property
    def length(self) -> int:
        """Bytes of the whole."""
        return sum(
            len(part) if isinstance(part, bytes) else part.encoded_size for part in self.parts
        )

    async def chunks(self, piece: int = CHUNK, small: int | None = None) -> AsyncIterator[bytes]:
        """Yield the body; raises OSError when a file is gone or is not what it was.

        Of a file, `piece` bytes are read at a time: a multiple of 3. Up to `small` bytes come as
        one.
        """
        if self.length <= (SMALL if small is None else small):
            yield await asyncio.to_thread(self.whole)
            return
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                async for encoded in _encoded(part, piece):
                    yield encoded

    def whole(self) -> bytes:
        """Return the body; reads files, and raises OSError as `chunks` does."""
        return b"".join(
            part
            if isinstance(part, bytes)
            else pybase64.b64encode(_exactly(part.path.read_bytes(), part.size))
            for part in self.parts
        )


async def _encoded(part: FilePart, most: int) -> AsyncIterator[bytes]:
    async with opened(lambda: part.path.open("rb")) as file:
        left = part.size
        while left:
            piece = await asyncio.to_thread(_read_encoded, file, min(most, left))
            left -= min(most, left)
            yield piece


async def raw_chunks(path: Path, size: int) -> AsyncIterator[bytes]:
    """Yield a file as it is; raises OSError when it is not `size` bytes long."""
    async with opened(lambda: path.open("rb")) as file:
        for start in range(0, size, CHUNK):
            piece = min(CHUNK, size - start)
            yield _exactly(await asyncio.to_thread(file.read, piece), piece)


def _read_encoded(file: BinaryIO, size: int) -> bytes:
    return pybase64.b64encode(_exactly(file.read(size), size))


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise OSError("an output changed while it was sent")
    return data


def success(
    job: Job,
    *,
    first: Mapping[str, Any] = MappingProxyType({}),
    encode: Callable[[Any], bytes] = orjson.dumps,
) -> Body:
    """Return the 200 body of `POST /prompt` for a job that succeeded.

    `first` stands in front of it; `encode` writes JSON without blanks.
    """
    result = job.result
    head = {
        **first,
        **job.request,
        "id": job.id,
        "prompt": graph.without_marks(job.graph),
        "status": "ok",
    }
    tail: dict[str, Any] = {
        "filenames": [entry["filename"] for entry in result["outputs"]],
        "outputs": [public_output(job.id, entry) for entry in result["outputs"]],
        "texts": result["texts"],
        "execution_cached": result["execution_cached"],
        "stats": result["stats"],
        "warnings": job.warnings,
    }
    tail |= {key: result[key] for key in ("node_errors", "presigned_urls") if result.get(key)}
    parts: list[bytes | FilePart] = [encode(head)[:-1] + b',"images":[']
    for index, entry in enumerate(result["outputs"]):
        parts += [b"," if index else b"", *image(entry, encode)]
    parts.append(b"]," + encode(tail)[1:])
    return Body(parts)


def image(entry: dict[str, Any], encode: Callable[[Any], bytes]) -> list[bytes | FilePart]:
    """Return what stands in `images` for an output: where it was uploaded to, or its base64."""
    if "uploaded_to" in entry:
        return [encode(entry["uploaded_to"])]
    return [b'"', FilePart(Path(entry["path"]), entry["size"]), b'"']


def public_output(job_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return an output as callers see it: no path of the host, and where to get it."""
    hidden = ("path", "source", "sidecar")
    shown = {key: value for key, value in entry.items() if key not in hidden and value is not None}
    if "index" not in entry:
        # While the job runs: outputs of other nodes may come to stand before it.
        return shown
    return {**shown, "url": f"/jobs/{job_id}/outputs/{entry['index']}"}


def failure(error: dict[str, Any]) -> dict[str, Any]:
    """Return the error body of a job that failed: `wire/prompt.md`, Errors."""
    hidden = ("message", "status")
    return {"error": error["message"], **{k: v for k, v in error.items() if k not in hidden}}


def record(job: Job, progress: dict[str, Any], place: Place | None) -> dict[str, Any]:
    """Return the body of `GET /jobs/{id}`."""
    result = job.result
    shown = {
        "id": job.id,
        "state": job.state,
        "attempt": job.attempt,
        "priority": job.priority,
        "created_at": timestamp(job.created_at),
        "progress": _progress(job, progress),
        "outputs": [public_output(job.id, entry) for entry in result.get("outputs", [])],
        "texts": result.get("texts", []),
        "warnings": job.warnings,
    }
    started_at = job.started_at or progress.get("started_at")
    optional = {
        "phase": progress.get("phase") if job.state is State.QUEUED else None,
        "position": place.position if place else None,
        "estimate": _estimate(place.estimate) if place and place.estimate else None,
        "metadata": job.request.get("metadata"),
        "started_at": timestamp(started_at) if started_at else None,
        "finished_at": timestamp(job.finished_at) if job.finished_at else None,
        "prompt_id": job.prompt_id or progress.get("prompt_id"),
        "presigned_urls": result.get("presigned_urls"),
        "stats": result.get("stats"),
        "node_errors": result.get("node_errors") or None,
        "error": _error(job.error) if job.error and job.state.is_terminal else None,
    }
    return shown | {key: value for key, value in optional.items() if value is not None}


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"wait": round(estimate.wait, 1), "duration": round(estimate.duration, 3)}


def _error(error: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in error.items() if key != "status"}


def _progress(job: Job, progress: dict[str, Any]) -> dict[str, Any]:
    if job.state in (State.SUCCEEDED, State.DELIVERING):
        total = len(job.graph)
        return {"value": 1.0, "nodes_done": total, "nodes_total": total}
    return (
        progress.get("progress")
        or job.result.get("progress")
        or {
            "value": 0.0,
            "nodes_done": 0,
            "nodes_total": len(job.graph),
        }
    )


def timestamp(seconds: float) -> str:
    """Return ISO 8601 UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
