"""Sends what jobs owe: again until it is heard, and in nobody's way."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from structlog.contextvars import bound_contextvars

from gateway import clock, errors, metrics
from gateway.jobs.outbox import Delivery
from gateway.jobs.store import Store
from gateway.log import logger
from gateway.storage import failures
from gateway.storage.failures import TransferFailed
from gateway.storage.posting import Reply, Sendable
from gateway.webhooks.message import sealed
from gateway.webhooks.schedule import Schedule
from gateway.webhooks.signature import Signer

#: Statuses whose Retry-After is heeded.
_BUSY = (429, 503)
_GONE = 410
_LONGEST_WAIT_S = 30.0
_BACK_OFF_S = 1.0
#: How long the answer to a request may be in front of the webhook about its job, at most.
_POLITE_S = 2.0

_T = TypeVar("_T")


class Http(Protocol):
    """What carries the calls."""

    async def send(
        self, url: str, body: Sendable, headers: Mapping[str, str], silence_s: float
    ) -> Reply:
        """Return how a body is answered; raises TransferFailed, InvalidInput, OSError."""
        ...


@dataclass(frozen=True)
class Limits:
    """How many calls at a time, and how long each may take."""

    #: Calls in all; so many at one destination is the store's business.
    at_once: int = 256
    #: Seconds in which nothing moves that end a call.
    silence_s: float = 15.0
    #: Seconds that calls under way get at a stop.
    last_words_s: float = 3.0


@dataclass(frozen=True)
class _Tried:
    """What became of one call."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    #: Whether it is no use to try again.
    is_final: bool = False

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Sender:
    """Drains the outbox; each call's outcome is stored before the next takes its place."""

    def __init__(
        self,
        store: Store,
        http: Http,
        signer: Signer,
        schedule: Schedule,
        answered: Callable[[str], Awaitable[None]],
        limits: Limits | None = None,
    ) -> None:
        """`answered` returns when the requests that wait for a job have had their answer."""
        self._store = store
        self._http = http
        self._signer = signer
        self._schedule = schedule
        self._answered = answered
        self._limits = limits or Limits()
        self._sending: dict[str, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    async def run(self) -> None:
        """Send what is due, until cancelled; what is under way then stays owed."""
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                self._wake.clear()
                pause = await self._insist(self._take)
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in (listening, *self._tasks):
                task.cancel()
            await asyncio.gather(listening, *self._tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Give what is due, and under way, a few seconds."""
        self._idle.clear()
        self._wake.set()
        try:
            async with asyncio.timeout(self._limits.last_words_s):
                await self._idle.wait()
        except TimeoutError:
            logger.info("webhooks stay owed for the next start", under_way=len(self._sending))

    async def _listen(self) -> None:
        while True:
            await self._store.outbox.wait_owed(_LONGEST_WAIT_S)
            self._wake.set()

    async def _take(self) -> float:
        """Begin the calls that are due; return the seconds until there may be more."""
        outbox = self._store.outbox
        # Asked first: what becomes due between the two questions is in the answer to the second.
        following = await outbox.next_due()
        room = self._limits.at_once - len(self._sending)
        if room > 0:
            busy = Counter(delivery.destination for delivery in self._sending.values())
            for delivery in await outbox.due(room, busy=busy, skip=set(self._sending)):
                self._start(delivery)
        if not self._sending:
            self._idle.set()
        if following is None:
            return _LONGEST_WAIT_S
        return min(max(0.0, following - clock.now()), _LONGEST_WAIT_S)

    def _start(self, delivery: Delivery) -> None:
        self._sending[delivery.id] = delivery
        task = asyncio.create_task(self._deliver(delivery), name=f"delivery-{delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(delivery, done))

    def _ended(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        del self._sending[delivery.id]
        self._tasks.discard(task)
        self._wake.set()

    # One call

    async def _deliver(self, delivery: Delivery) -> None:
        with bound_contextvars(job_id=delivery.job_id, delivery_id=delivery.id):
            await self._wait_for_answer(delivery.job_id)
            at, began = time.time(), time.monotonic()
            try:
                tried = await self._try(delivery)
            except Exception:  # noqa: BLE001 - the background-task guard is one of the three places
                metrics.errors_total.labels("webhooks").inc()
                logger.exception("a webhook could not be sent")
                tried = _Tried(error="the gateway could not send it; its log says why")
            duration = time.monotonic() - began
            metrics.delivery_seconds.observe(duration)
            told = {"status": tried.status, "error": tried.error}
            attempt = {"at": at} | {key: value for key, value in told.items() if value is not None}
            await self._record(delivery, tried, {**attempt, "duration": round(duration, 3)})

    async def _wait_for_answer(self, job_id: str) -> None:
        """Let the 202 leave first, also for a job that was over in no time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLITE_S):
                await self._answered(job_id)

    async def _try(self, delivery: Delivery) -> _Tried:
        job = await self._insist(lambda: self._store.get(delivery.job_id))
        if job is None:
            return _Tried(error="the job was deleted", is_final=True)
        try:
            message = await sealed(job, delivery, self._signer)
            reply = await self._http.send(
                delivery.url, message, message.headers, self._limits.silence_s
            )
        except TransferFailed as failure:
            return _Tried(error=self._reason(failure))
        except errors.InvalidInput:
            # What it says quotes the URL, which may hold a secret.
            return _Tried(error="its URL is none that can be called", is_final=True)
        except FileNotFoundError:
            return _Tried(error="a file of the job is gone, so there is no body", is_final=True)
        except OSError as failure:
            why = failure.strerror or str(failure)
            return _Tried(error=f"a file of the job could not be read: {why}")
        return _told(reply)

    def _reason(self, failure: TransferFailed) -> str:
        verdict = failure.verdict
        if verdict.is_silence:
            return f"no answer within {self._limits.silence_s:g} s"
        return "the connection broke off" if verdict == failures.CUT else verdict.reason

    async def _record(self, delivery: Delivery, tried: _Tried, attempt: dict[str, Any]) -> None:
        outbox = self._store.outbox
        if tried.is_delivered:
            await self._insist(lambda: outbox.delivered(delivery, attempt))
            metrics.deliveries_total.labels("delivered").inc()
            logger.info("webhook delivered", to=delivery.destination, **attempt)
            return
        next_at = None if tried.is_final else self._next_at(delivery, tried)
        await self._insist(lambda: outbox.failed(delivery, attempt, next_at))
        metrics.deliveries_total.labels("dead" if next_at is None else "failed").inc()
        log = logger.warning if next_at is None else logger.info
        event = "webhook is a dead letter" if next_at is None else "webhook will be tried again"
        log(event, to=delivery.destination, tries=delivery.tries + 1, **attempt)

    def _next_at(self, delivery: Delivery, tried: _Tried) -> float | None:
        chance = random.random()  # noqa: S311 - spreads calls, hides nothing
        return self._schedule.next_at(delivery.tries + 1, clock.now(), chance, tried.retry_after)

    async def _insist(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Ask the store until it answers: what was sent and not recorded would be sent again."""
        is_told = False
        while True:
            try:
                return await work()
            except Exception as failure:  # noqa: BLE001 - the background-task guard, as above
                if not isinstance(failure, errors.Unavailable):
                    metrics.errors_total.labels("webhooks").inc()
                if not is_told:
                    logger.error("webhooks wait for the store", reason=str(failure)[:200])
                is_told = True
                await asyncio.sleep(_BACK_OFF_S)


def _told(reply: Reply) -> _Tried:
    status = reply.status
    if status == _GONE:
        return _Tried(status, "the receiver answered 410: it wants no more of it", is_final=True)
    if 300 <= status < 400:
        return _Tried(status, "the receiver redirects, and redirects are not followed")
    return _Tried(status, retry_after=reply.retry_after if status in _BUSY else None)
