"""The only door to jobs: one protocol, one file for each engine."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Collection, Container, Mapping, Sequence
from typing import Any, Literal, Protocol

from gateway import clock
from gateway.jobs.estimate import Place
from gateway.jobs.generation import Sought
from gateway.jobs.job import Change, Holding, Job, Lease, Outcome, State, Want
from gateway.jobs.outbox import Delivery, DeliveryState
from gateway.jobs.policy import FREE, Policy

Cancelled = Literal["removed", "asked", "gone"]

# Inside the class, `list` is the method.
Jobs = list[Job]
Leases = list[Lease]
Holdings = list[Holding]
Sidecars = list[dict[str, Any]]


class Outbox(Protocol):
    """The calls that jobs owe; each is owed in the transaction that ends its job."""

    async def due(
        self, count: int, *, busy: Mapping[str, int], skip: Collection[str]
    ) -> list[Delivery]:
        """Return calls that are due, those first whose destination has waited longest.

        `busy` says how many run to each destination, `skip` which: PER_DESTINATION at most.
        """
        ...

    async def next_due(self) -> float | None:
        """Return when the next call is due that is not due yet, seconds since 1970."""
        ...

    async def wait_owed(self, timeout: float | None) -> None:
        """Return when a call may have become due, at the latest after `timeout` s."""
        ...

    async def delivered(self, delivery: Delivery, attempt: dict[str, Any]) -> None:
        """Note a call that arrived; on disk when this returns. Raises StorageFull, StoreBusy."""
        ...

    async def failed(
        self, delivery: Delivery, attempt: dict[str, Any], next_at: float | None
    ) -> None:
        """Note a call that did not, and when the next is due; with None it is a dead letter."""
        ...

    async def depth(self) -> tuple[int, float | None]:
        """Return how many calls are owed, and since when."""
        ...

    async def get(self, delivery_id: str) -> Delivery | None:
        """Return a delivery, or None when there is none."""
        ...

    async def deliveries(
        self,
        *,
        state: DeliveryState | None = None,
        job_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Delivery], str | None]:
        """Return deliveries, newest first, and the cursor of the next page."""
        ...

    async def replay(self, delivery_id: str) -> Delivery | None:
        """Owe a call again, at once, whatever became of it; None when there is none."""
        ...

    async def bury(self, before: float) -> int:
        """Forget dead letters of before this time; return how many."""
        ...


class Generations(Protocol):
    """What was made: remembered in the transaction that ends its job, and kept for longer."""

    async def list(
        self, sought: Sought, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[Sidecars, str | None]:
        """Return sidecars, newest first, and the cursor of the next page."""
        ...

    async def forget(self, job_id: str) -> bool:
        """Forget what a job has made whose record is gone; return whether there was something."""
        ...

    async def expire(self, before: float) -> int:
        """Forget some of what was made before this time; return how many."""
        ...


class Store(Protocol):
    """Owns states and time. A job's terminal state never changes.

    Whatever ends a job owes its webhooks, and remembers what was made, in the same transaction.
    """

    @property
    def outbox(self) -> Outbox:
        """The calls that jobs owe."""
        ...

    @property
    def generations(self) -> Generations:
        """What was made by jobs that succeeded."""
        ...

    @property
    def cut_off(self) -> Jobs:
        """The jobs that ran, or were delivered, when the last gateway on this store ended."""
        ...

    # For any node

    async def put(self, job: Job, *, durable: bool) -> Job:
        """Insert the job, or return the one that has its id or its idempotency key already.

        With `durable` the job is on disk when this returns. Raises QueueFull, KeyQueueFull,
        StorageFull, StoreBusy.
        """
        ...

    async def check_room(self, owner: str | None) -> None:
        """Raise QueueFull or KeyQueueFull when one more job of this owner may not wait.

        `put` looks again: others may be faster.
        """
        ...

    async def get(self, job_id: str) -> Job | None:
        """Return a job, or None when there is none."""
        ...

    async def by_key(self, idempotency_key: str) -> Job | None:
        """Return the job that was put under this key, or None."""
        ...

    async def list(
        self, *, state: State | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[Jobs, str | None]:
        """Return jobs, newest first, and the cursor of the next page."""
        ...

    async def depth(self) -> dict[State, int]:
        """Return how many jobs are in each state, without looking at them."""
        ...

    async def oldest(self) -> float | None:
        """Return since when the oldest queued job waits, seconds since 1970."""
        ...

    async def position(self, job: Job) -> int:
        """Return how many queued jobs come before this one, plus one."""
        ...

    async def places(self, jobs: Sequence[Job]) -> dict[str, Place]:
        """Return where those that are queued stand, by id; looks at the queue once for all."""
        ...

    async def holdings(self, cursor: str | None = None) -> tuple[Holdings, str | None]:
        """Return input files that queued jobs hold, and the cursor of the next page."""
        ...

    async def cancel(self, job_id: str, error: dict[str, Any]) -> Cancelled:
        """End a queued job at once, or ask the owner of a running one."""
        ...

    async def reprioritise(self, job_id: str, priority: int) -> bool:
        """Change a queued job's priority; return whether it was queued."""
        ...

    def watch(self, after: int | None = None) -> AsyncIterator[Change]:
        """Yield every change, from now or from after an event id that is still remembered."""
        ...

    # For a worker

    async def claim(self, want: Want) -> Lease | None:
        """Take the first job that fits, by its rank, or by the turns of its owner; never blocks."""
        ...

    async def peek(
        self,
        count: int,
        *,
        nearest: int = 0,
        horizon: float = math.inf,
        known: Container[str] = frozenset(),
    ) -> Jobs:
        """Return the first queued jobs that need something fetched; own nothing.

        Only those that are expected to start within `horizon` seconds, or that are among the
        `nearest` first of the whole queue. Those in `known` count, and are not returned.
        """
        ...

    async def wait(self, timeout: float) -> None:
        """Return when something may have become claimable, at the latest after `timeout` s."""
        ...

    async def renew(self, leases: Leases) -> tuple[Leases, Leases]:
        """Keep leases alive; return (lost, asked to cancel): stop these now."""
        ...

    def progress(self, lease: Lease, data: dict[str, Any]) -> None:
        """Tell how far a job is; may be lost."""
        ...

    def progress_of(self, job_id: str) -> dict[str, Any]:
        """Return what `progress` told last."""
        ...

    async def finish(self, lease: Lease, outcome: Outcome) -> Job:
        """Enter `delivering` or a terminal state. Raises LeaseLost."""
        ...

    async def fail(
        self, lease: Lease, error: dict[str, Any], *, retry_in: float | None, max_attempts: int
    ) -> Job:
        """End the job as failed, or, with `retry_in` seconds, queue it again with attempt + 1.

        Past `max_attempts` it fails all the same. Raises LeaseLost.
        """
        ...

    async def release(self, lease: Lease) -> Job:
        """Give a job back to the queue, or end it where that was asked; no attempt is counted.

        Raises LeaseLost.
        """
        ...

    async def sweep(self) -> None:
        """Queue the jobs of expired leases again, fail queued ones past their deadline."""
        ...

    async def close(self) -> None:
        """Let go of the engine."""
        ...

    # For the janitor

    async def expired(self, before: float) -> Jobs:
        """Return jobs that were over before this time, have files, and owe nobody a call."""
        ...

    async def forget_files(self, job_id: str) -> None:
        """Note that a job's files are gone."""
        ...

    async def delete(self, job_id: str) -> bool:
        """Delete a job that is over, with the calls it owes, and what is remembered of it.

        Return whether it was over.
        """
        ...

    async def expire(self, before: float) -> int:
        """Delete some records of jobs that were over before this time; return how many.

        What has files, or owes a call, stays; so does what is remembered of what they made.
        """
        ...


async def open_store(
    url: str, now: Callable[[], float] = clock.now, policy: Policy = FREE
) -> Store:
    """Open the engine that the URL names: `sqlite:<path>`; `now` is seconds since 1970.

    Raises StateRefused, StorageFull, StoreBusy.
    """
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        raise ValueError(f"no job store for {scheme}:")
    from gateway.jobs.sqlite import SqliteStore

    return await SqliteStore.open(rest, now, policy)
