"""The events of one job, from GET /jobs/{id}/events, over cut connections and restarts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import orjson

from gateway.cli.client import Client, Refused, Unreached, job_path
from gateway.cli.failure import CommandFailed
from gateway.cli.sse import EventTooLong, Parser

_T = TypeVar("_T")

TERMINAL = ("succeeded", "failed", "cancelled")

#: The gateway sends a comment each 15 s: after three that did not come, nobody is there.
_SILENCE_S = 45.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0
_GIVE_UP_S = 600.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_S)


@dataclass(frozen=True)
class JobEvent:
    """One event of a job: `kind` is state, progress, preview, output or log."""

    kind: str
    data: dict[str, Any]
    id: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether the job is over."""
        return self.kind == "state" and self.data.get("state") in TERMINAL


#: The gateway has nothing to add to what was heard: the job is over.
_OVER = JobEvent("over", {})


@dataclass(frozen=True)
class Following:
    """What is followed, and who hears of a connection that was lost."""

    job_id: str
    previews: bool = False
    #: The gateway answered before: it is tried again also when the first connection fails.
    is_known: bool = False
    on_lost: Callable[[], None] = lambda: None


async def events(client: Client, following: Following) -> AsyncGenerator[JobEvent]:
    """Yield the events of a job up to its terminal state.

    A connection that breaks is made again where it broke, until the gateway was away for ten
    minutes. Raises Refused for an unknown job, and CommandFailed.
    """
    last_id: str | None = None
    has_begun, losses = following.is_known, _Losses(following.on_lost)
    while True:
        try:
            async with aclosing(_connection(client, following, last_id)) as stream:
                async for event in stream:
                    if event is _OVER:
                        return
                    has_begun = True
                    losses.forget()
                    last_id = event.id or last_id
                    yield event
                    if event.is_last:
                        return
            failure: CommandFailed = Unreached("The gateway ended the stream of events.")
        except CommandFailed as broken:
            if not (has_begun and _may_come_back(broken)):
                raise _explained(broken) from None
            failure = broken
        await losses.pause(failure)


async def insisted(ask: Callable[[], Awaitable[_T]], on_lost: Callable[[], None]) -> _T:
    """Return what a gateway answers that was reached before, asked as patiently as in `events`."""
    losses = _Losses(on_lost)
    while True:
        try:
            return await ask()
        except CommandFailed as failure:
            if not _may_come_back(failure):
                raise
            await losses.pause(failure)


class _Losses:
    """How long a gateway has been away, and how often it was looked for meanwhile."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._since: float | None = None
        self._pauses = 0

    def forget(self) -> None:
        """Begin anew: it is back."""
        self._since, self._pauses = None, 0

    async def pause(self, failure: CommandFailed) -> None:
        """Wait before it is tried again; raises the failure when it was away for too long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._on_lost()
        if now - self._since > _GIVE_UP_S:
            raise failure
        await asyncio.sleep(pause(self._pauses) * random.uniform(0.5, 1))  # noqa: S311
        self._pauses += 1


def pause(number: int) -> float:
    """Return how long to wait before the next connection, at most."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(number, 10)))


async def _connection(
    client: Client, following: Following, last_id: str | None
) -> AsyncGenerator[JobEvent]:
    headers = {"Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    path = f"{job_path(following.job_id)}/events"
    params = {"previews": "true"} if following.previews else {}
    parser = Parser()
    async with client.request(
        "GET", path, params=params, headers=headers, timeout=_TIMEOUT
    ) as answer:
        if answer.status == 204:
            yield _OVER
            return
        if answer.content_type != "text/event-stream":
            raise CommandFailed(f"{client.url}{path} answers {answer.content_type}, and no events.")
        async for chunk in answer.content.iter_any():
            try:
                found = parser.feed(chunk)
            except EventTooLong as failure:
                raise CommandFailed(str(failure)) from None
            for event in found:
                data = _object(event.data)
                # What a newer gateway may send beside objects is not for this command line.
                if data is not None:
                    yield JobEvent(event.kind, data, event.id)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _may_come_back(failure: CommandFailed) -> bool:
    if isinstance(failure, Refused):
        return failure.status >= 500 or failure.status == 429
    return isinstance(failure, Unreached)


def _explained(failure: CommandFailed) -> CommandFailed:
    is_route = isinstance(failure, Refused) and failure.status == 404
    if is_route and getattr(failure, "code", None) != "job_not_found":
        return CommandFailed(
            "This gateway has no live events.",
            hint="It is older than this command line; `gateway jobs show ID` tells how a job is.",
        )
    return failure
