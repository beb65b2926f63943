"""claim -> run -> finish; how many at a time, cancelling, draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from structlog.contextvars import bound_contextvars

from gateway import clock, errors, metrics
from gateway.comfy.client import Comfy
from gateway.jobs.job import Change, Job, Lease, Outcome, State, Want
from gateway.jobs.store import Store
from gateway.log import logger
from gateway.runner import Callbacks, Prepared, Runner

#: Queued jobs with something to fetch that are looked at ahead of their turn.
PEEK = 16
#: How soon a job has to be expected to start for its inputs to be fetched, seconds; these many
#: that come after those in ComfyUI are looked at however long the others take.
HORIZON_S = 900.0
AT_ONCE = 2
_RENEW_EVERY_S = 15.0
_SWEEP_EVERY_S = 1.0
_BACK_OFF_S = 1.0
_PAUSE_S = 0.1
_LONGEST_WAIT_S = 30.0
#: Seconds of a drain in which a job whose files are there gets into ComfyUI.
_ARRIVAL_S = 2.0
#: Characters of a failed job's reason in the log; its record has it whole.
_REASON_LENGTH = 1000

_GPU_HINT = (
    "The GPU failed this job each time, also in a ComfyUI that was started anew. If other jobs run,"
    " look at this node's inputs (an index out of range ends in a device-side assert); if none"
    " does, look at the GPU: nvidia-smi, and the kernel's log for Xid."
)

_T = TypeVar("_T")


class Engine(Protocol):
    """What the worker asks of the supervisor."""

    @property
    def is_ready(self) -> bool:
        """Whether jobs may be sent."""
        ...

    async def gpu_lost(self) -> None:
        """Start it anew, since its process cannot use the GPU any more; returns at once."""
        ...


@dataclass(frozen=True)
class Limits:
    """How much at a time, and how often."""

    #: Jobs kept inside ComfyUI.
    queue_depth: int
    #: Jobs whose inputs are fetched at a time.
    prepare_concurrency: int
    #: Crashes of ComfyUI a job may live through, its last one included.
    max_attempts: int


@dataclass
class _Running:
    lease: Lease
    task: asyncio.Task[None]
    #: Why the task is being cancelled; None while it is not.
    reason: errors.GatewayError | None = None
    #: A task that is cancelled before its first step, or while its end is being decided, never
    #: gets to say what became of its job; the reason is heard all the same.
    is_interruptible: bool = False
    #: Its end is known and being stored: too late to cancel.
    is_settling: bool = False


class Worker:
    """Runs the store's jobs in one ComfyUI."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        comfy: Comfy,
        engine: Engine,
        limits: Limits,
        let_go: Callable[[str], None],
    ) -> None:
        """`let_go` frees what was kept in memory and on disk for a job that is over."""
        self._store = store
        self._runner = runner
        self._comfy = comfy
        self._engine = engine
        self._limits = limits
        self._let_go = let_go
        self._fetching = asyncio.Semaphore(limits.prepare_concurrency)
        self._running: dict[str, _Running] = {}
        self._arriving: set[str] = set()
        self._preparing: dict[str, asyncio.Task[Prepared]] = {}
        self._prepared: set[str] = set()
        self._wake = asyncio.Event()
        self._draining = False
        #: The time of a drain is over: what cannot be stored now is left to the next start.
        self._out_of_time = False
        comfy.on_free = self._wake.set

    @property
    def running(self) -> set[str]:
        """Ids of the jobs that are claimed and not yet over."""
        return set(self._running)

    @property
    def arriving(self) -> int:
        """How many jobs are claimed and on their way into ComfyUI."""
        return len(self._arriving)

    def is_preparing(self, job_id: str) -> bool:
        """Whether what a job needs is being fetched."""
        preparing = self._preparing.get(job_id)
        return preparing is not None and not preparing.done()

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
            lease = await self._store.claim(Want(frozenset(self._prepared)))
            if lease is None:
                break
            self._start(lease)
        await self._look_ahead()

    @property
    def _has_room(self) -> bool:
        return self._comfy.occupied + len(self._arriving) < self._limits.queue_depth

    async def follow(self, changes: AsyncIterator[Change]) -> None:
        """React to what others did to jobs: new ones, cancelled ones."""
        async for change in changes:
            job = change.job
            if job.state is State.QUEUED:
                self._wake.set()
            elif job.state.is_terminal and job.id not in self._running:
                self._over(job.id)
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
        lost, cancelled = await self._store.renew([r.lease for r in self._running.values()])
        for lease in lost:
            self._cancel(lease.job.id, errors.LeaseLost())
        for lease in cancelled:
            self._cancel(lease.job.id, _reason(lease.job))

    # Ahead of the GPU

    async def _look_ahead(self) -> None:
        nearest = self._limits.queue_depth + AT_ONCE
        for job in await self._store.peek(
            PEEK, nearest=nearest, horizon=HORIZON_S, known=frozenset(self._preparing)
        ):
            self._prepare(job)

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
                self._wake.set()

    # One job

    def _start(self, lease: Lease) -> None:
        self._arriving.add(lease.job.id)
        task = asyncio.create_task(self._run(lease), name=f"job-{lease.job.id}")
        self._running[lease.job.id] = _Running(lease, task)
        metrics.jobs_running.set(len(self._running))

    async def _run(self, lease: Lease) -> None:
        job = lease.job
        with bound_contextvars(job_id=job.id, attempt=job.attempt):
            try:
                await self._settle(lease)
            except errors.LeaseLost as lost:
                logger.warning("the job is let go of", reason=lost.message)
                if self._is_current(lease):
                    self._over(job.id)
            except Exception:  # noqa: BLE001 - the worker loop is one of the three places
                metrics.errors_total.labels("worker").inc()
                logger.exception("the job's end could not be stored")
            finally:
                if self._is_current(lease):
                    self._arriving.discard(job.id)
                    del self._running[job.id]
                metrics.jobs_running.set(len(self._running))
                self._wake.set()

    def _is_current(self, lease: Lease) -> bool:
        """Whether the job was not claimed again: the queue has it before the disk confirms that."""
        found = self._running.get(lease.job.id)
        return found is not None and found.lease is lease

    async def _settle(self, lease: Lease) -> None:
        """Run a job and store its end, whatever it is."""
        try:
            outcome = await self._outcome(lease)
            self._running[lease.job.id].is_settling = True
            done = await self._stored(lambda: self._store.finish(lease, outcome))
        except errors.EngineLost as lost:
            done = await self._engine_lost(lease, lost)
        except errors.GpuLost as lost_gpu:
            done = await self._gpu_lost(lease, lost_gpu.failure)
        except (asyncio.CancelledError, errors.Draining):
            # The latter where it was claimed in the moment of the stop.
            done = await self._cancelled(lease)
        except errors.LeaseLost:
            raise
        except errors.GatewayError as failure:
            done = await self._fail(lease, failure)
        except Exception:  # noqa: BLE001 - the worker loop is one of the three places
            metrics.errors_total.labels("job").inc()
            logger.exception("the job failed in the gateway")
            done = await self._fail(lease, errors.InternalError())
        self._told(done)

    async def _outcome(self, lease: Lease) -> Outcome:
        job = lease.job
        found = self._running[job.id]
        found.is_interruptible = True
        if found.reason is not None:
            raise found.reason
        remaining = None if job.deadline is None else job.deadline - clock.now()
        try:
            async with asyncio.timeout(remaining):
                fetches = job.needs_fetch and not job.result
                ready = self._prepare(job) if fetches else self._runner.prepare(job)
                return await self._runner.run(job, ready, self._callbacks(lease))
        except TimeoutError:
            if remaining is None:
                raise
            wished = job.request.get("timeout")
            raise errors.JobTimeout(
                f"The job did not finish within {wished} s.",
                hint="Counted from acceptance, the queue included; raise timeout, or leave it out.",
            ) from None

    def _callbacks(self, lease: Lease) -> Callbacks:
        def progress(data: dict[str, Any]) -> None:
            self._store.progress(lease, data)

        def sending() -> None:
            self._arriving.discard(lease.job.id)

        async def delivering(outcome: Outcome) -> None:
            await self._stored(lambda: self._store.finish(lease, outcome))

        return Callbacks(progress, sending, delivering)

    async def _engine_lost(self, lease: Lease, lost: errors.EngineLost) -> Job:
        found = self._running[lease.job.id]
        found.is_interruptible = False
        if not lost.started:
            logger.info("the job goes back to the queue", reason=lost.message)
            # ComfyUI may be about to be declared dead: no hurry to claim the same job again.
            await asyncio.sleep(_PAUSE_S)
        if found.reason is not None:
            return await self._cancelled(lease)
        if not lost.started:
            job = await self._stored(lambda: self._store.release(lease))
            if job.state is State.QUEUED:
                self._runner.narration.note(job.id, f"Back in the queue: {lost.message}")
            return job
        crashed = errors.EngineCrashed(
            f"ComfyUI died {lease.job.attempt} times while it ran this job.",
            hint="`log` has ComfyUI's last lines; GET /logs has more.",
            log=lost.last_lines.splitlines()[-50:],
        )
        job = await self._fail(lease, crashed, retry_in=0.0)
        if job.state is State.QUEUED:
            metrics.retries_total.labels("engine_lost").inc()
        elif job.state is State.FAILED:
            metrics.poison_jobs_total.inc()
        return job

    async def _gpu_lost(self, lease: Lease, failure: errors.ExecutionFailed) -> Job:
        found = self._running[lease.job.id]
        found.is_interruptible = False
        await self._engine.gpu_lost()
        if found.reason is not None:
            return await self._cancelled(lease)
        lasting = errors.ExecutionFailed(failure.message, hint=_GPU_HINT, **failure.details)
        job = await self._fail(lease, lasting, retry_in=0.0)
        if job.state is State.QUEUED:
            metrics.retries_total.labels("gpu_lost").inc()
        return job

    async def _cancelled(self, lease: Lease) -> Job:
        found = self._running.get(lease.job.id)
        reason = found.reason if found else None
        if isinstance(reason, errors.LeaseLost):
            raise reason
        if reason is None or isinstance(reason, errors.Draining):
            return await self._stored(lambda: self._store.release(lease))
        return await self._fail(lease, reason)

    async def _fail(
        self, lease: Lease, failure: errors.GatewayError, retry_in: float | None = None
    ) -> Job:
        if lease.job.id in self._running:
            self._running[lease.job.id].is_settling = True
        error, most = failure.to_dict(), self._limits.max_attempts
        job = await self._stored(
            lambda: self._store.fail(lease, error, retry_in=retry_in, max_attempts=most)
        )
        if job.state is State.QUEUED:
            self._runner.narration.note(job.id, f"Tried again: {failure.message}", "warning")
        return job

    async def _stored(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Write how a job stands; while the disk is full, or the store locked, wait.

        The GPU's work would be lost. Raises LeaseLost when a drain cannot wait any more.
        """
        is_told = False
        while True:
            try:
                return await write()
            except (errors.StorageFull, errors.StoreBusy) as failure:
                if self._out_of_time:
                    # Its record stays as it is, and says to the next start what to do again.
                    raise errors.LeaseLost(
                        f"The gateway stops, and cannot store it: {failure.message}"
                    ) from failure
                if not is_told:
                    logger.error("a job's end waits for the store", reason=failure.message)
                is_told = True
                await asyncio.sleep(_BACK_OFF_S)

    def _told(self, job: Job) -> None:
        if not job.state.is_terminal:
            return
        self._over(job.id)
        code = job.error["code"] if job.error else job.state.value
        metrics.jobs_total.labels(code).inc()
        told = {"state": job.state.value, "code": code, "attempt": job.attempt}
        if job.error is None:
            logger.info("job over", **told)
        else:
            logger.warning("job over", **told, reason=job.error["message"][:_REASON_LENGTH])

    def _over(self, job_id: str) -> None:
        """Let go of all that was kept for a job."""
        preparing = self._preparing.pop(job_id, None)
        if preparing is not None and not preparing.done():
            preparing.cancel()
        elif preparing is not None and not preparing.cancelled():
            preparing.exception()
        self._prepared.discard(job_id)
        self._let_go(job_id)

    def _cancel(self, job_id: str, reason: errors.GatewayError) -> None:
        found = self._running.get(job_id)
        if found is not None and found.reason is None and not found.is_settling:
            found.reason = reason
            if found.is_interruptible:
                found.task.cancel()

    # The end

    async def drain(self, timeout: float) -> None:
        """Stop claiming, let running jobs finish for `timeout` s, then give them back."""
        self._draining = True
        self._wake.set()
        tasks = [found.task for found in self._running.values()]
        if tasks:
            logger.info("draining", running=len(tasks), timeout=timeout)
            await asyncio.wait(tasks, timeout=min(timeout, _ARRIVAL_S))
            # Whoever stops the gateway waits for the GPU, and for no download.
            for job_id in self._fetching_still():
                self._cancel(job_id, errors.Draining())
            await asyncio.wait(tasks, timeout=max(0.0, timeout - _ARRIVAL_S))
        self._out_of_time = True
        for job_id in list(self._running):
            self._cancel(job_id, errors.Draining())
        left = [found.task for found in self._running.values()]
        if left:
            await asyncio.wait(left, timeout=10)
        for task in self._preparing.values():
            task.cancel()
        await asyncio.gather(*self._preparing.values(), return_exceptions=True)

    def _fetching_still(self) -> list[str]:
        """Return the jobs whose turn came, and that ComfyUI has not been sent yet."""
        arriving = [found for job_id, found in self._running.items() if job_id in self._arriving]
        # What is being delivered again after a restart is never sent.
        return [found.lease.job.id for found in arriving if not found.lease.job.result]


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
