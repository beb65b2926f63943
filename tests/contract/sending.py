"""A sender of webhooks over a real store, and jobs that are over."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.jobs.job import Job, Outcome, State, Want
from gateway.jobs.outbox import Delivery, DeliveryState
from gateway.jobs.store import Store, open_store
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.posting import Connections
from gateway.webhooks.schedule import Schedule
from gateway.webhooks.sender import Limits, Sender
from gateway.webhooks.signature import Signer
from tests.waiting import wait_until

KEY = b"a key of thirty-two bytes, no less"
SECRET = base64.b64encode(KEY).decode()
GRAPH = {
    "10": {"class_type": "EmptyImage", "inputs": {"width": 64, "seed": 5}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["10", 0], "filename_prefix": "é"}},
}
STATS = {"queue_time": 1.0, "total_time": 12.625, "tiny": 1e-7}


@dataclass
class Stand:
    """A store whose jobs end as a test says, and who tells of it."""

    folder: Path
    store: Store
    sender: Sender

    async def over(
        self,
        job_id: str,
        *,
        files: dict[str, bytes] | None = None,
        sizes: dict[str, int] | None = None,
        uploaded_to: str | None = None,
        error: dict[str, Any] | None = None,
        **request: Any,
    ) -> Job:
        """Put a job and end it, with these files (or those that are there) or with this error."""
        given = Job(
            id=job_id, request=request, graph=GRAPH, fingerprint="f", created_at=1_700_000_000.0
        )
        await self.store.put(given, durable=True)
        lease = await self.store.claim(Want())
        assert lease is not None
        assert lease.job.id == job_id
        if error is not None:
            return await self.store.fail(lease, error, retry_in=None, max_attempts=1)
        for name, content in (files or {}).items():
            (self.folder / f"{job_id}_{name}").write_bytes(content)
        known = {name: len(content) for name, content in (files or {}).items()} | (sizes or {})
        outputs = [self._output(job_id, n, *file) for n, file in enumerate(known.items())]
        if uploaded_to is not None:
            outputs = [{**entry, "uploaded_to": uploaded_to} for entry in outputs]
        result = {"outputs": outputs, "texts": [], "execution_cached": ["10"], "stats": STATS}
        outcome = Outcome(State.SUCCEEDED, GRAPH, result, ["a warning"])
        return await self.store.finish(lease, outcome)

    def _output(self, job_id: str, index: int, name: str, size: int) -> dict[str, Any]:
        path = self.folder / f"{job_id}_{name}"
        shown = {"index": index, "node_id": "9", "filename": path.name, "type": "output"}
        described = {"content_type": "image/png", "size": size, "width": 2, "height": 3}
        return {**shown, "path": str(path), **described}

    async def deliveries(self, state: DeliveryState | None = None) -> list[Delivery]:
        found, _ = await self.store.outbox.deliveries(state=state, limit=200)
        return found

    async def until(self, state: DeliveryState, count: int = 1) -> list[Delivery]:
        """Wait until so many deliveries are in a state."""

        async def there() -> list[Delivery]:
            found = await self.deliveries(state)
            return found if len(found) >= count else []

        return list(await wait_until(there, description=f"{count} deliveries are {state}"))

    async def until_tried(self, times: int = 1) -> Delivery:
        """Wait until the newest delivery was tried so often."""

        async def tried() -> Delivery | None:
            found = await self.deliveries()
            return found[0] if found and len(found[0].attempts) >= times else None

        found = await wait_until(tried, description=f"it was tried {times} times")
        assert isinstance(found, Delivery)
        return found


async def at_once(_: str) -> None:
    """Nobody waits for an answer."""


@contextlib.asynccontextmanager
async def sending(
    folder: Path,
    *,
    key: bytes | None = KEY,
    delays: tuple[float, ...] = (0.05,),
    attempts: int = 10,
    silence_s: float = 1.0,
    at_once_most: int = 256,
    allow: tuple[str, ...] = ("127.0.0.1",),
    answered: Callable[[str], Awaitable[None]] = at_once,
    proxies: dict[str, str] | None = None,
) -> AsyncIterator[Stand]:
    """Hold a store and a running sender."""
    store = await open_store(f"sqlite:{folder / 'jobs.db'}")
    connections = Connections(limit=0, are_kept=False, send_buffer=1 << 17)
    try:
        http = HttpProvider(NetworkGuard(allow), proxies=proxies or {}, connections=connections)
        async with http.open():
            sender = Sender(
                store,
                http,
                Signer(key),
                Schedule(delays, attempts),
                answered,
                Limits(at_once_most, silence_s, last_words_s=1.0),
            )
            running = asyncio.create_task(sender.run())
            try:
                yield Stand(folder, store, sender)
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
    finally:
        await store.close()
