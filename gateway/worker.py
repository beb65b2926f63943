"""Which jobs, how many and when: claims, leases, cancelling, draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from structlog.contextvars import bound_contextvars

from gateway import clock, errors, metrics
from gateway.comfy.client import Comfy
from gateway.jobs.job import Change, Job, Lease, State, Want
from gateway.jobs.store import Store
from gateway.log import logger
from gateway.lookahead import Lookahead
from gateway.settlement import Settlement, Turn

_RENEW_EVERY_S = 15.0
_SWEEP_EVERY_S = 1.0
_BACK_OFF_S = 1.0
_LONGEST_WAIT_S = 30.0
#: Seconds of a drain in which a job whose files are there gets into ComfyUI.
_ARRIVAL_S = 2.0


class Engine(Protocol):
    """What the worker asks of the supervisor."""

    @property
    def is_ready(self) -> bool:
        """Whether jobs may be sent."""
        ...


class Worker:
    """Runs the store's jobs in one ComfyUI."""

    def __init__(
        self,
        store: Store,
        comfy: Comfy,
        engine: Engine,
        lookahead: Lookahead,
        settlement: Settlement,
        queue_depth: int,
    ) -> None:
        """`queue_depth` is how many jobs are kept inside ComfyUI."""
        self._store = store
        self._comfy = comfy
        self._engine = engine
        self._lookahead = lookahead
        self._settlement = settlement
        self._queue_depth = queue_depth
        self._turns: dict[str, Turn] = {}
        self._wake = asyncio.Event()
        self._draining = False
        comfy.on_free = lookahead.on_prepared = self._wake.set

    @property
    def running(self) -> set[str]:
        """Ids of the jobs that are claimed and not yet over."""
        return set(self._turns)

    @property
    def arriving(self) -> int:
        """How many jobs are claimed and on their way into ComfyUI."""
        return sum(turn.is_arriving for turn in self._turns.values())

    def wake(self) -> None:
        """Look again: a job may have come, or ComfyUI may be ready."""
        self._wake.set()

    # The loops

    async def run(self) -> None:
        """Claim and run until drained; broad on purpose: no failure may stop the loop."""
        while not self._draining:
            self._wake.clear()
            try:
                await self._fill()
            except Exception as failure:  # noqa: BLE001 - the worker loop is one of the three places
                _note("the worker could not claim", failure)
                await asyncio.sleep(_BACK_OFF_S)
                continue
            await self._wake.wait()

    async def _fill(self) -> None:
        while not self._draining and self._engine.is_ready and self._has_room:
            lease = await self._store.claim(Want(self._lookahead.prepared))
            if lease is None:
                break
            self._start(lease)
        await self._lookahead.look()

    @property
    def _has_room(self) -> bool:
        return self._comfy.occupied + self.arriving < self._queue_depth

    async def follow(self, changes: AsyncIterator[Change]) -> None:
        """React to what others did to jobs: new ones, cancelled ones."""
        async for change in changes:
            job = change.job
            if job.state is State.QUEUED:
                self._wake.set()
            elif job.state.is_terminal and job.id not in self._turns:
                self._lookahead.over(job.id)
            elif job.cancel_asked:
                self._cancel(job.id, _reason(job))

    async def listen(self) -> None:
        """Wake when the store says that something may be claimable."""
        while True:
            await self._store.wait(_LONGEST_WAIT_S)
            self._wake.set()

    async def keep(self) -> None:
        """Keep leases alive, and let the store's clock work."""
        renewed = clock.now()
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            try:
                # First, and by the clock that leases end by: it may have been set forward.
                if clock.now() - renewed >= _RENEW_EVERY_S:
                    await self._renew()
                    renewed = clock.now()
                await self._store.sweep()
            except Exception as failure:  # noqa: BLE001 - the worker loop is one of the three places
                _note("leases were not renewed", failure)

    async def _renew(self) -> None:
        lost, cancelled = await self._store.renew([turn.lease for turn in self._turns.values()])
        for lease in lost:
            self._cancel(lease.job.id, errors.LeaseLost())
        for lease in cancelled:
            self._cancel(lease.job.id, _reason(lease.job))

    def _cancel(self, job_id: str, reason: errors.GatewayError) -> None:
        turn = self._turns.get(job_id)
        if turn is not None:
            turn.cancel(reason)

    # One job

    def _start(self, lease: Lease) -> None:
        turn = self._turns[lease.job.id] = Turn(lease)
        turn.task = asyncio.create_task(self._run(turn), name=f"job-{lease.job.id}")
        metrics.jobs_running.set(len(self._turns))

    async def _run(self, turn: Turn) -> None:
        job = turn.lease.job
        with bound_contextvars(job_id=job.id, attempt=job.attempt):
            try:
                done = await self._settlement.settle(turn)
                if done.state.is_terminal:
                    self._lookahead.over(job.id)
            except errors.LeaseLost as lost:
                logger.warning("the job is let go of", reason=lost.message)
                if self._is_current(turn):
                    self._lookahead.over(job.id)
            except Exception:  # noqa: BLE001 - the worker loop is one of the three places
                metrics.errors_total.labels("worker").inc()
                logger.exception("the job's end could not be stored")
            finally:
                if self._is_current(turn):
                    del self._turns[job.id]
                metrics.jobs_running.set(len(self._turns))
                self._wake.set()

    def _is_current(self, turn: Turn) -> bool:
        """Whether the job was not claimed again: the queue has it before the disk confirms that."""
        return self._turns.get(turn.lease.job.id) is turn

    # The end

    async def drain(self, timeout: float) -> None:
        """Stop claiming, let running jobs finish for `timeout` s, then give them back."""
        self._draining = True
        self._wake.set()
        tasks = [turn.task for turn in self._turns.values()]
        if tasks:
            logger.info("draining", running=len(tasks), timeout=timeout)
            await asyncio.wait(tasks, timeout=min(timeout, _ARRIVAL_S))
            # Whoever stops the gateway waits for the GPU, and for no download.
            for turn in self._turns.values():
                # What is being delivered again after a restart is never sent.
                if turn.is_arriving and not turn.lease.job.result:
                    turn.cancel(errors.Draining())
            await asyncio.wait(tasks, timeout=max(0.0, timeout - _ARRIVAL_S))
        self._settlement.is_out_of_time = True
        left = [turn.task for turn in self._turns.values()]
        for turn in self._turns.values():
            turn.cancel(errors.Draining())
        if left:
            await asyncio.wait(left, timeout=10)
        await self._lookahead.stop()


def _note(event: str, failure: Exception) -> None:
    metrics.errors_total.labels("worker").inc()
    if isinstance(failure, errors.Unavailable):
        # The store is locked, or its disk full: no mistake of ours, and it is tried again.
        logger.error(event, reason=failure.message)
    else:
        logger.error(event, exc_info=failure)


def _reason(job: Job) -> errors.GatewayError:
    """Return why a job's end was asked for."""
    code = job.error["code"] if job.error else None
    return errors.ClientGone() if code == errors.ClientGone.code else errors.JobCancelled()
