"""One claimed job, until its end is stored, whatever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway import clock, errors, metrics
from gateway.jobs import locations
from gateway.jobs.job import Job, Lease, Outcome, State
from gateway.jobs.store import Store
from gateway.log import logger
from gateway.runner import Callbacks, Prepared, Runner

_PAUSE_S = 0.1
_STORE_PAUSE_S = 1.0
#: Characters of a failed job's reason in the log; its record has it whole.
_REASON_LENGTH = 1000

_GPU_HINT = (
    "The GPU failed this job each time, also in a ComfyUI that was started anew. If other jobs run,"
    " look at this node's inputs (an index out of range ends in a device-side assert); if none"
    " does, look at the GPU: nvidia-smi, and the kernel's log for Xid."
)

_T = TypeVar("_T")


@dataclass
class Turn:
    """A job that is claimed, and not yet over."""

    lease: Lease
    task: asyncio.Task[None] = field(init=False)
    #: Why the task is being cancelled; None while it is not.
    reason: errors.GatewayError | None = None
    #: On its way into ComfyUI.
    is_arriving: bool = True
    #: A task that is cancelled before its first step, or while its end is being decided, never
    #: gets to say what became of its job; the reason is heard all the same.
    is_interruptible: bool = False
    #: Its end is known and being stored: too late to cancel.
    is_settling: bool = False

    def cancel(self, reason: errors.GatewayError) -> None:
        """End it for this reason, unless there is one already or it is too late."""
        if self.reason is None and not self.is_settling:
            self.reason = reason
            if self.is_interruptible:
                self.task.cancel()


class Settlement:
    """Runs claimed jobs and stores their ends."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        ready: Callable[[Job], Awaitable[Prepared]],
        restart: Callable[[], Awaitable[None]],
        max_attempts: int,
    ) -> None:
        """`ready` prepares a job, `restart` begins to start a ComfyUI that lost the GPU anew.

        `max_attempts` are the crashes of ComfyUI a job may live through, its last one included.
        """
        self._store = store
        self._runner = runner
        self._ready = ready
        self._restart = restart
        self._max_attempts = max_attempts
        #: The time of a drain is over: what cannot be stored now is left to the next start.
        self.is_out_of_time = False

    async def settle(self, turn: Turn) -> Job:
        """Run a job, store its end and return it; raises LeaseLost when it is another's to end."""
        try:
            outcome = await self._outcome(turn)
            turn.is_settling = True
            done = await self._stored(lambda: self._store.finish(turn.lease, outcome))
        except errors.EngineLost as lost:
            done = await self._engine_lost(turn, lost)
        except errors.GpuLost as lost_gpu:
            done = await self._gpu_lost(turn, lost_gpu.failure)
        except (asyncio.CancelledError, errors.Draining):
            # The latter where it was claimed in the moment of the stop.
            done = await self._cancelled(turn)
        except errors.LeaseLost:
            raise
        except errors.GatewayError as failure:
            done = await self._fail(turn, failure)
        except Exception:  # noqa: BLE001 - the worker loop is one of the three places
            metrics.errors_total.labels("job").inc()
            logger.exception("the job failed in the gateway")
            done = await self._fail(turn, errors.InternalError())
        if done.state.is_terminal:
            _tell(done)
        return done

    async def _outcome(self, turn: Turn) -> Outcome:
        job = turn.lease.job
        turn.is_interruptible = True
        if turn.reason is not None:
            raise turn.reason
        remaining = None if job.deadline is None else job.deadline - clock.now()
        try:
            async with asyncio.timeout(remaining):
                return await self._runner.run(job, self._ready(job), self._callbacks(turn))
        except TimeoutError:
            if remaining is None:
                raise
            wished = job.request.get("timeout")
            raise errors.JobTimeout(
                f"The job did not finish within {wished} s.",
                hint="Counted from acceptance, the queue included; raise timeout, or leave it out.",
            ) from None

    def _callbacks(self, turn: Turn) -> Callbacks:
        def progress(data: dict[str, Any]) -> None:
            self._store.progress(turn.lease, data)

        def sending() -> None:
            turn.is_arriving = False

        async def delivering(outcome: Outcome) -> None:
            await self._stored(lambda: self._store.finish(turn.lease, outcome))

        return Callbacks(progress, sending, delivering)

    async def _engine_lost(self, turn: Turn, lost: errors.EngineLost) -> Job:
        turn.is_interruptible = False
        job = turn.lease.job
        if not lost.started:
            logger.info("the job goes back to the queue", reason=lost.message)
            # ComfyUI may be about to be declared dead: no hurry to claim the same job again.
            await asyncio.sleep(_PAUSE_S)
        if turn.reason is not None:
            return await self._cancelled(turn)
        if not lost.started:
            released = await self._stored(lambda: self._store.release(turn.lease))
            if released.state is State.QUEUED:
                self._runner.narration.note(job.id, f"Back in the queue: {lost.message}")
            return released
        crashed = errors.EngineCrashed(
            f"ComfyUI died {job.attempt} times while it ran this job.",
            hint="`log` has ComfyUI's last lines; GET /logs has more.",
            log=lost.last_lines.splitlines()[-50:],
        )
        done = await self._fail(turn, crashed, retry_in=0.0)
        if done.state is State.QUEUED:
            metrics.retries_total.labels("engine_lost").inc()
        elif done.state is State.FAILED:
            metrics.poison_jobs_total.inc()
        return done

    async def _gpu_lost(self, turn: Turn, failure: errors.ExecutionFailed) -> Job:
        turn.is_interruptible = False
        await self._restart()
        if turn.reason is not None:
            return await self._cancelled(turn)
        lasting = errors.ExecutionFailed(failure.message, hint=_GPU_HINT, **failure.details)
        done = await self._fail(turn, lasting, retry_in=0.0)
        if done.state is State.QUEUED:
            metrics.retries_total.labels("gpu_lost").inc()
        return done

    async def _cancelled(self, turn: Turn) -> Job:
        if isinstance(turn.reason, errors.LeaseLost):
            raise turn.reason
        if turn.reason is None or isinstance(turn.reason, errors.Draining):
            return await self._stored(lambda: self._store.release(turn.lease))
        return await self._fail(turn, turn.reason)

    async def _fail(
        self, turn: Turn, failure: errors.GatewayError, retry_in: float | None = None
    ) -> Job:
        turn.is_settling = True
        failure.location = locations.in_request(turn.lease.job, failure.location)
        error, most = failure.to_dict(), self._max_attempts
        done = await self._stored(
            lambda: self._store.fail(turn.lease, error, retry_in=retry_in, max_attempts=most)
        )
        if done.state is State.QUEUED:
            self._runner.narration.note(done.id, f"Tried again: {failure.message}", "warning")
        return done

    async def _stored(self, write: Callable[[], Awaitable[_T]]) -> _T:
        """Write how a job stands; while the disk is full, or the store locked, wait.

        The GPU's work would be lost. Raises LeaseLost when a drain cannot wait any more.
        """
        is_told = False
        while True:
            try:
                return await write()
            except (errors.StorageFull, errors.StoreBusy) as failure:
                if self.is_out_of_time:
                    # Its record stays as it is, and says to the next start what to do again.
                    raise errors.LeaseLost(
                        f"The gateway stops, and cannot store it: {failure.message}"
                    ) from failure
                if not is_told:
                    logger.error("a job's end waits for the store", reason=failure.message)
                is_told = True
                await asyncio.sleep(_STORE_PAUSE_S)


def _tell(job: Job) -> None:
    """Count and log a job that is over."""
    code = job.error["code"] if job.error else job.state.value
    metrics.jobs_total.labels(code).inc()
    told = {"state": job.state.value, "code": code, "attempt": job.attempt}
    if job.error is None:
        logger.info("job over", **told)
    else:
        logger.warning("job over", **told, reason=job.error["message"][:_REASON_LENGTH])
