"""What ends the gateway: a signal, a part that ended, a ComfyUI that is not started again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from gateway import errors, metrics
from gateway.log import logger


class Shutdown:
    """Whether the gateway is to end, in how much of a hurry, and with which exit status."""

    def __init__(self) -> None:
        self.exit_code = 0
        self.asked = asyncio.Event()
        self._hurried = asyncio.Event()

    def ask(self, exit_code: int = 0) -> None:
        """Ask for it; the process ends with this status."""
        self.exit_code = exit_code
        self.asked.set()

    def on_signal(self) -> None:
        """First: drain. Second: do not wait for anything."""
        if self.asked.is_set():
            self._hurried.set()
        self.asked.set()

    @contextlib.asynccontextmanager
    async def running(self, loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Run a loop beside the context; its unforeseen end stops the gateway."""
        task = asyncio.create_task(loop)
        task.add_done_callback(self._loop_ended)
        try:
            yield
        finally:
            task.remove_done_callback(self._loop_ended)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if self.asked.is_set() or task.cancelled():
            return
        metrics.errors_total.labels("loop").inc()
        logger.critical("a part of the gateway ended", exc_info=task.exception())
        self.ask(70)

    async def wait_for(self, *works: Coroutine[Any, Any, None]) -> None:
        """Wait for all of it, and no longer than until a second signal."""
        work: asyncio.Future[Any] = asyncio.gather(*works, return_exceptions=True)
        hurry: asyncio.Future[Any] = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({work, hurry}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, hurry):
            task.cancel()
        await asyncio.gather(work, hurry, return_exceptions=True)


def come_back(job_id: str) -> errors.GatewayError:
    """Return what those are told who wait for a job of a gateway that stops."""
    return errors.Draining(
        hint=f"A job with an id of its own is kept: ask for /jobs/{job_id} when it is back.",
        retry_after=30.0,
        id=job_id,
    )
