"""System events: what happens to files and in ComfyUI, told to the operator's own address."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import stamina

from gateway import errors, metrics
from gateway.config import Settings
from gateway.log import logger
from gateway.setting_values import STORAGE_EVENTS
from gateway.storage import address
from gateway.storage.failures import TransferFailed
from gateway.webhooks.backlog import Backlog, Waiting
from gateway.webhooks.body import canonical
from gateway.webhooks.signature import Signer

_ATTEMPTS = 3
_SILENCE_S = 15.0
_LAST_WORDS_S = 3.0


class Http(Protocol):
    """What carries the calls."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Return the status of the answer; raises TransferFailed, InvalidInput."""
        ...


class Notifier(Protocol):
    """Who is told of events."""

    def wants(self, name: str) -> bool:
        """Whether an event of this name is sent."""
        ...

    def notify(self, name: str, data: Mapping[str, Any], job_id: str | None = None) -> None:
        """Tell of one; never waits, never raises."""
        ...


class Silence:
    """Nobody wants to hear."""

    def wants(self, name: str) -> bool:
        """Return that it is not."""
        return False

    def notify(self, name: str, data: Mapping[str, Any], job_id: str | None = None) -> None:
        """Do nothing."""


class _Refused(Exception):
    """The receiver did not say yes."""


#: What ends the telling of one event, and is no fault of the gateway's.
_EXPECTED = (TransferFailed, errors.InvalidInput, _Refused, TypeError, RecursionError)


class SystemEvents:
    """Sends one event after the other; `run` is to be running."""

    def __init__(self, settings: Settings, http: Http, *, pause_s: float = 1.0) -> None:
        """`pause_s` lies between two tries."""
        assert settings.system_webhook_url is not None
        self._url = settings.system_webhook_url
        self._wanted = frozenset(settings.system_webhook_events)
        self._metadata = settings.system_meta
        self._signer = Signer(settings.webhook_key)
        self._http = http
        self._pause_s = pause_s
        self._backlog = Backlog()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, settings: Settings, http: Http, *, pause_s: float = 1.0
    ) -> AsyncIterator[Notifier]:
        """Send in the background until left; then, for a moment, what still waits."""
        if settings.system_webhook_url is None or not settings.system_webhook_events:
            yield Silence()
            return
        events = cls(settings, http, pause_s=pause_s)
        sending = asyncio.create_task(events.run())
        try:
            yield events
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await events.sent()
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    def wants(self, name: str) -> bool:
        """Whether an event of this name is sent."""
        return bool(self._wanted & {name, "all"})

    def notify(self, name: str, data: Mapping[str, Any], job_id: str | None = None) -> None:
        """Put an event into its job's queue, when its name is wanted."""
        if not self.wants(name):
            return
        dropped = self._backlog.put(Waiting(name, data), job_id)
        if dropped:
            metrics.system_events_total.labels("dropped").inc(dropped)
        self._idle.clear()
        self._changed.set()

    async def sent(self) -> None:
        """Return when nothing waits any more."""
        await self._idle.wait()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            while self._backlog:
                await self._deliver(self._backlog.take())
            self._idle.set()
            await self._changed.wait()
            self._changed.clear()

    async def _deliver(self, event: Waiting) -> None:
        try:
            await self._tried(self._body(event))
        except _EXPECTED as failure:
            metrics.system_events_total.labels("failed").inc()
            logger.warning(
                "a system event was not delivered",
                event_name=event.name,
                url=address.shown(self._url),
                reason=str(failure)[:200],
            )
        except Exception:  # noqa: BLE001 - the background-task guard is one of the three places
            metrics.system_events_total.labels("failed").inc()
            metrics.errors_total.labels("system_events").inc()
            logger.exception("a system event could not be told")
        else:
            metrics.system_events_total.labels("delivered").inc()

    def _body(self, event: Waiting) -> bytes:
        room = "storage" if event.name in STORAGE_EVENTS else "comfy"
        told = {"event": f"{room}.{event.name}", "data": event.data, "metadata": self._metadata}
        return canonical(told)

    async def _tried(self, body: bytes) -> None:
        message_id = f"msg_{uuid.uuid4().hex}"
        async for attempt in stamina.retry_context(
            on=(TransferFailed, _Refused),
            attempts=_ATTEMPTS,
            timeout=None,
            wait_initial=self._pause_s,
            wait_max=self._pause_s,
            wait_jitter=0,
        ):
            with attempt:
                await self._once(message_id, body)

    async def _once(self, message_id: str, body: bytes) -> None:
        headers = {
            "Content-Type": "application/json",
            **self._signer.headers(message_id, time.time(), body),
        }
        try:
            async with asyncio.timeout(_SILENCE_S):
                status = await self._http.post(self._url, body, headers)
        except TimeoutError:
            raise _Refused(f"no answer within {_SILENCE_S:g} s") from None
        if not 200 <= status < 300:
            raise _Refused(f"the receiver answered {status}")
