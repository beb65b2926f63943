"""What a webhook says: built from the stored job when it is sent, its pictures from the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from gateway import errors, graph
from gateway.jobs import answer
from gateway.jobs.answer import Body
from gateway.jobs.job import Job, State
from gateway.jobs.outbox import Delivery
from gateway.webhooks.body import canonical
from gateway.webhooks.signature import Seal, Signer

#: A body up to this size is read once; of a larger one, hundreds may be under way.
_SMALL = 64 * 1024
#: Bytes of a file read at a time, which are 64 KiB of base64.
_PIECE = 3 * 16384
_TYPES = {
    State.SUCCEEDED: "prompt.complete",
    State.FAILED: "prompt.failed",
    State.CANCELLED: "prompt.cancelled",
}
_UNTOLD = ("message", "status")


class BodyChanged(OSError):
    """A file of the job changed between the signature and the sending."""


@dataclass(frozen=True)
class Message:
    """A call that is ready: its headers, and its body in pieces."""

    headers: dict[str, str]
    body: Body
    #: Begins the signature anew, to see that what is sent is what was signed.
    _again: Seal | None = None

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return self.body.length

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; raises OSError when a file is gone or is not what was signed."""
        if self._again is None:
            async for chunk in self.body.chunks(_PIECE, small=0):
                yield chunk
            return
        held = b""
        async for chunk in self.body.chunks(_PIECE, small=0):
            await asyncio.to_thread(self._again.update, chunk)
            yield held
            held = chunk
        if self._again.headers.items() <= self.headers.items():
            yield held
            return
        # Short of its Content-Length, no receiver takes it for whole.
        raise BodyChanged("an output changed while it was sent")


async def sealed(job: Job, delivery: Delivery, signer: Signer) -> Message:
    """Return what a delivery sends now; raises OSError, FileNotFoundError when files are gone."""
    headers = {"Content-Type": "application/json"}
    if delivery.kind == "webhook":
        # The older format was never signed, and its receivers expect no such headers.
        return Message(headers, await asyncio.to_thread(build, job, delivery))
    now = time.time()
    seal = signer.begin(job.id, now)
    body = await asyncio.to_thread(_sealed_at_once, job, delivery, seal)
    if not _has_files(body):
        return Message({**headers, **seal.headers}, body)
    async for chunk in body.chunks(_PIECE, small=0):
        await asyncio.to_thread(seal.update, chunk)
    return Message({**headers, **seal.headers}, body, signer.begin(job.id, now))


def _sealed_at_once(job: Job, delivery: Delivery, seal: Seal) -> Body:
    body = build(job, delivery)
    if not _has_files(body):
        seal.update(body.whole())
    return body


def build(job: Job, delivery: Delivery) -> Body:
    """Return the body of a delivery; it may take a while, and reads small files."""
    body = _signed(job) if delivery.kind == "webhook_v2" else _legacy(job, delivery)
    return Body([body.whole()]) if body.length <= _SMALL else body


def _signed(job: Job) -> Body:
    told_at = answer.timestamp(job.finished_at or job.created_at)
    first = {"type": _TYPES[job.state], "timestamp": told_at}
    if job.state is State.SUCCEEDED:
        return answer.success(job, first=first, encode=canonical)
    return Body([canonical({**first, **_failure(job)})])


def _failure(job: Job) -> dict[str, Any]:
    error = _error(job)
    told = {
        "id": job.id,
        "prompt": graph.without_marks(job.graph),
        "error": error["message"],
        **{key: value for key, value in error.items() if key not in _UNTOLD},
    }
    if "node_errors" not in told and job.result.get("node_errors"):
        told["node_errors"] = job.result["node_errors"]
    if "metadata" in job.request:
        told["metadata"] = job.request["metadata"]
    return told


def _error(job: Job) -> dict[str, Any]:
    if job.error is not None:
        return job.error
    ended = errors.JobCancelled if job.state is State.CANCELLED else errors.InternalError
    return ended().to_dict()


def _legacy(job: Job, delivery: Delivery) -> Body:
    prompt = graph.without_marks(job.graph)
    if job.state is not State.SUCCEEDED:
        failed = {"event": "prompt.failed", "error": _error(job)["message"]}
        return Body([canonical({**failed, "id": job.id, "prompt": prompt})])
    entry = next((one for one in job.result["outputs"] if one["index"] == delivery.output), None)
    if entry is None:
        raise FileNotFoundError(f"the job has no output {delivery.output}")
    tail = {
        "id": job.id,
        "filename": entry["filename"],
        "prompt": prompt,
        "stats": job.result["stats"],
    }
    head = b'{"event":"output.complete","image":'
    return Body([head, *answer.image(entry, canonical), b"," + canonical(tail)[1:]])


def _has_files(body: Body) -> bool:
    return not all(isinstance(part, bytes) for part in body.parts)
