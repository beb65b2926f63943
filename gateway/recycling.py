"""Restarts ComfyUI between jobs, since its memory creeps; no job is hurt, and nothing crashed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import psutil

from gateway.comfy.snapshot import Snapshot
from gateway.log import logger

Reason = Literal["recycle_jobs", "recycle_rss"]

#: Memory is looked at so often, and after each job.
_LOOK_EVERY_S = 3.0
#: ComfyUI waits for jobs that are on their way into it, and for no download.
_ARRIVAL_S = 10.0
_PAUSE_S = 0.25
_GB = 1024**3


@dataclass(frozen=True)
class Limits:
    """What one ComfyUI may run and hold; 0 = without a limit."""

    jobs: int
    rss_gb: float


class Engine(Protocol):
    """What is asked of the supervisor."""

    snapshot: Snapshot

    async def restart(self, reason: str) -> None:
        """End the present run and start another."""
        ...


@dataclass(frozen=True)
class Load:
    """How busy ComfyUI is."""

    #: Prompts that it has.
    occupied: int
    #: Jobs that are on their way into it.
    arriving: int
    is_draining: bool = False


def reason_for(limits: Limits, jobs: int, rss: int) -> Reason | None:
    """Return why a ComfyUI that ran so many jobs and holds so many bytes is to be restarted."""
    if limits.jobs and jobs >= limits.jobs:
        return "recycle_jobs"
    # One that starts above the limit would be restarted for ever.
    if limits.rss_gb and jobs and rss >= limits.rss_gb * _GB:
        return "recycle_rss"
    return None


class Recycling:
    """Counts jobs, looks at memory, and asks for a restart when ComfyUI has nothing to do."""

    def __init__(
        self,
        limits: Limits,
        engine: Engine,
        load: Callable[[], Load],
        resume: Callable[[], None],
    ) -> None:
        """`resume` is called when jobs may be claimed again."""
        self._limits = limits
        self._engine = engine
        self._load = load
        self._resume = resume
        self._pid: int | None = None
        self._jobs = 0
        self._is_told = False
        self._ran = asyncio.Event()
        #: Whether claims stop, until ComfyUI is free.
        self.is_due = False

    def ran(self) -> None:
        """Take note that ComfyUI is done with a job."""
        self._meet(self._engine.snapshot.pid)
        self._jobs += 1
        if self._limits.jobs and self._jobs >= self._limits.jobs:
            # At once: the next job would be claimed before anyone looks.
            self.is_due = True
        self._ran.set()

    async def run(self) -> None:
        """Watch for ever."""
        while self._limits.jobs or self._limits.rss_gb:
            self._ran.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._ran.wait()
            await self._look()
        await asyncio.Event().wait()

    async def _look(self) -> None:
        now = self._engine.snapshot
        self._meet(now.pid)
        if now.state != "ready" or now.pid is None:
            self.is_due = False
            return
        rss = await asyncio.to_thread(resident, now.pid) if self._limits.rss_gb else 0
        reason = reason_for(self._limits, self._jobs, rss)
        if reason is not None:
            await self._recycle(reason, now.pid, rss)
        elif not self._jobs and rss >= self._limits.rss_gb * _GB > 0:
            self._tell_once(rss)

    def _meet(self, pid: int | None) -> None:
        """Begin to count anew when another has taken its place, be it after a crash."""
        if pid != self._pid:
            self._pid, self._jobs = pid, 0

    async def _recycle(self, reason: Reason, pid: int, rss: int) -> None:
        self.is_due = True
        try:
            told = {"jobs": self._jobs, "rss_gb": round(rss / _GB, 2)}
            logger.info("ComfyUI is recycled once it is free", reason=reason, **told)
            if await self._is_freed(pid):
                await self._engine.restart(reason)
        finally:
            self._jobs, self.is_due = 0, False
            self._resume()

    async def _is_freed(self, pid: int) -> bool:
        """Wait until ComfyUI has nothing to do; False when another has taken its place."""
        since = time.monotonic()
        while self._engine.snapshot.pid == pid:
            load = self._load()
            if load.occupied:
                since = time.monotonic()
            late = time.monotonic() - since >= _ARRIVAL_S
            if not load.is_draining and not load.occupied and (late or not load.arriving):
                return True
            self._ran.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._ran.wait()
        return False

    def _tell_once(self, rss: int) -> None:
        if not self._is_told:
            self._is_told = True
            logger.warning(
                "ComfyUI holds more than RECYCLE_RSS_GB before its first job: it is restarted after"
                " each job; set a higher limit",
                rss_gb=round(rss / _GB, 2),
                limit_gb=self._limits.rss_gb,
            )


def resident(pid: int) -> int:
    """Return the resident memory of a process and all it started, bytes; blocks."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in tree:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total
