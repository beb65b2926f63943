"""Fetches what queued jobs need while the GPU runs others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.jobs.job import Job
from gateway.jobs.store import Store
from gateway.runner import Prepared, Runner

#: Queued jobs with something to fetch that are looked at ahead of their turn.
PEEK = 16
#: How soon a job has to be expected to start for its inputs to be fetched, seconds; these many
#: that come after those in ComfyUI are looked at however long the others take.
HORIZON_S = 900.0
AT_ONCE = 2


class Lookahead:
    """What is fetched, or was, for jobs that are not over."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        let_go: Callable[[str], None],
        *,
        queue_depth: int,
        prepare_concurrency: int,
    ) -> None:
        """`let_go` frees what was kept in memory and on disk for a job that is over.

        `queue_depth` jobs are kept inside ComfyUI, `prepare_concurrency` fetched for at a time.
        """
        self._store = store
        self._runner = runner
        self._nearest = queue_depth + AT_ONCE
        self._fetching = asyncio.Semaphore(prepare_concurrency)
        self._let_go = let_go
        self._preparing: dict[str, asyncio.Task[Prepared]] = {}
        self._prepared: set[str] = set()
        #: Is called when a job may be claimed that could not before.
        self.on_prepared: Callable[[], None] = lambda: None

    @property
    def prepared(self) -> frozenset[str]:
        """Ids of the jobs whose files are there, or could not be fetched."""
        return frozenset(self._prepared)

    def is_preparing(self, job_id: str) -> bool:
        """Whether what a job needs is being fetched."""
        preparing = self._preparing.get(job_id)
        return preparing is not None and not preparing.done()

    async def look(self) -> None:
        """Begin to fetch for the jobs whose turn comes soon."""
        for job in await self._store.peek(
            PEEK, nearest=self._nearest, horizon=HORIZON_S, known=frozenset(self._preparing)
        ):
            self._prepare(job)

    def ready(self, job: Job) -> Awaitable[Prepared]:
        """Return the preparation of a job whose turn has come, begun before or now."""
        if job.needs_fetch and not job.result:
            return self._prepare(job)
        return self._runner.prepare(job)

    def _prepare(self, job: Job) -> asyncio.Task[Prepared]:
        if job.id not in self._preparing:
            self._preparing[job.id] = asyncio.create_task(self._fetch(job))
        return self._preparing[job.id]

    async def _fetch(self, job: Job) -> Prepared:
        try:
            if self._runner.is_at_hand(job):
                # Not behind others that fetch for hours.
                return await self._runner.prepare(job)
            async with self._fetching:
                return await self._runner.prepare(job)
        finally:
            # Failed or not, its turn may come now: a job that fails is claimed, then failed. That
            # of one that is over, and of which nothing is kept, never comes.
            if self._preparing.get(job.id) is asyncio.current_task():
                self._prepared.add(job.id)
                self.on_prepared()

    def over(self, job_id: str) -> None:
        """Let go of all that was kept for a job."""
        preparing = self._preparing.pop(job_id, None)
        if preparing is not None and not preparing.done():
            preparing.cancel()
        elif preparing is not None and not preparing.cancelled():
            preparing.exception()
        self._prepared.discard(job_id)
        self._let_go(job_id)

    async def stop(self) -> None:
        """Fetch no more."""
        for task in self._preparing.values():
            task.cancel()
        await asyncio.gather(*self._preparing.values(), return_exceptions=True)
