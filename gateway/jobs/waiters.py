"""Wakes whoever waits for a job to be over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.jobs.job import Change, Job
from gateway.jobs.store import Store


class Waiters:
    """One watcher of the store for any number of waiting requests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, set[asyncio.Future[Job]]] = {}
        self._interested: Counter[str] = Counter()
        self._reason: Callable[[str], Exception] | None = None
        self._left: dict[str, asyncio.Event] = {}

    async def run(self, changes: AsyncIterator[Change]) -> None:
        """Settle futures as jobs end; runs as long as the gateway."""
        async for change in changes:
            if change.job.state.is_terminal:
                for waiting in self._waiting.pop(change.job.id, set()):
                    if not waiting.done():
                        waiting.set_result(change.job)

    @asynccontextmanager
    async def expect(self, job_id: str) -> AsyncIterator[asyncio.Future[Job]]:
        """Register before the job is put: it may be over before the next line runs.

        As long as the context lasts, the job's files are kept for its reader.
        """
        self._interested[job_id] += 1
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        if self._reason is not None:
            future.set_exception(self._reason(job_id))
        self._waiting.setdefault(job_id, set()).add(future)
        try:
            yield future
        finally:
            self._interested[job_id] -= 1
            if not self._interested[job_id]:
                # A Counter that is subtracted would look at every job that is waited for.
                del self._interested[job_id]
            others = self._waiting.get(job_id)
            if others is not None:
                others.discard(future)
                if not others:
                    del self._waiting[job_id]
            if future.done() and not future.cancelled():
                future.exception()
            if not self.is_waited_for(job_id) and job_id in self._left:
                self._left.pop(job_id).set()

    def is_waited_for(self, job_id: str) -> bool:
        """Whether a request waits for this job, or is being answered with its files."""
        return job_id in self._interested

    async def answered(self, job_id: str) -> None:
        """Return when no request waits for this job, or is being answered, any more."""
        while self.is_waited_for(job_id):
            await self._left.setdefault(job_id, asyncio.Event()).wait()

    def give_up(self, reason: Callable[[str], Exception], *, keep: set[str]) -> None:
        """Wake whoever waits for a job that will not end now; jobs in `keep` still may.

        With nothing to keep, whoever comes later is told at once.
        """
        if not keep:
            self._reason = reason
        for job_id in self._waiting.keys() - keep:
            for waiting in self._waiting.pop(job_id):
                if not waiting.done():
                    waiting.set_exception(reason(job_id))
