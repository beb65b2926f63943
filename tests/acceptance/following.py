"""A reader of a job's events that keeps every one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.acceptance.faulty import Gateway
from tests.waiting import wait_until


@dataclass(frozen=True)
class Event:
    """One event as it came."""

    id: int
    kind: str
    data: dict[str, Any]


@dataclass
class Reader:
    """What one connection has brought so far."""

    events: list[Event] = field(default_factory=list)
    comments: int = 0
    is_ended: bool = False

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind == kind]

    @property
    def states(self) -> list[str]:
        return [data["state"] for data in self.of("state")]

    async def until(self, fact: Callable[[Reader], Any], description: str) -> None:
        await wait_until(lambda: fact(self), description=description, timeout=20)

    async def until_end(self) -> None:
        await self.until(lambda found: found.is_ended, "the stream ended")

    def take(self, block: str) -> None:
        if block.startswith(":"):
            self.comments += 1
            return
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        event = Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        self.events.append(event)


@contextlib.asynccontextmanager
async def following(
    gateway: Gateway, job_id: str, query: str = "", **headers: str
) -> AsyncIterator[Reader]:
    """Read events beside the test; the connection is cut when the context is left."""
    found = Reader()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.session.get(gateway.events_url(job_id, query), headers=named) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        task = asyncio.create_task(_read(answer, found))
        try:
            yield found
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _read(answer: aiohttp.ClientResponse, found: Reader) -> None:
    rest = ""
    # A gateway that is killed ends it without a last chunk.
    with contextlib.suppress(aiohttp.ClientPayloadError):
        async for data in answer.content.iter_any():
            *blocks, rest = (rest + data.decode()).split("\n\n")
            for block in blocks:
                found.take(block)
    found.is_ended = True
