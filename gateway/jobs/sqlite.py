"""The embedded engine of the job store: SQLite in WAL mode, one writer."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway import clock, errors
from gateway.jobs import queries, rows
from gateway.jobs.database import Database, opening
from gateway.jobs.feed import Feed
from gateway.jobs.job import Change, Job, Lease, Outcome, State, Want
from gateway.jobs.outbox import owes
from gateway.jobs.policy import FREE, Policy
from gateway.jobs.sqlite_generations import SqliteGenerations
from gateway.jobs.sqlite_outbox import SqliteOutbox
from gateway.jobs.sqlite_reads import SqliteReads
from gateway.jobs.store import Cancelled, Jobs, Leases

# Inside the class, `list` is a method.
Rows = list[sqlite3.Row]

#: Life of a lease that nobody renews, seconds.
LEASE_S = 60.0
#: Later than any lease.
_EVER = 1e18

_LATE = errors.JobTimeout(
    "The job's timeout passed while it was queued.",
    hint="Counted from acceptance; raise timeout, or leave it out. "
    "Models are fetched while a job is queued: GET /downloads shows those that are slow.",
)


class SqliteStore(SqliteReads):
    """See `jobs.store.Store`; commits are fsynced where a caller was promised the disk."""

    def __init__(self, db: Database, now: Callable[[], float], policy: Policy) -> None:
        super().__init__(db, now, policy)
        self._feed = Feed()
        self._claimable = asyncio.Event()
        self._last_queued_at = 0.0
        self.cut_off: Jobs = []
        self.outbox = SqliteOutbox(db, self._sql, now)
        self.generations = SqliteGenerations(db, self._sql, now, lambda: bool(self._early))

    @classmethod
    async def open(
        cls, path: str, now: Callable[[], float] = clock.now, policy: Policy = FREE
    ) -> SqliteStore:
        """Open or create the database; what a gateway that is gone had leased is queued again.

        Raises StateRefused for a database of a newer version or a damaged one, StorageFull,
        StoreBusy.
        """
        with opening():
            db = await Database.open(Path(path))
            try:
                await asyncio.to_thread(
                    db.migrate, queries.read("schema.sql"), queries.migrations()
                )
                store = cls(db, now, policy)
                await store._recover()
            except BaseException:
                await db.close()
                raise
            return store

    async def close(self) -> None:
        """Close the database."""
        await self._db.close()

    async def _recover(self) -> None:
        now = self._now()
        gone = rows.dumps(
            errors.ClientGone("The gateway restarted, and the client was gone.").to_dict()
        )

        def work(db: sqlite3.Connection) -> None:
            self.cut_off = [rows.job(row) for row in self._rows(db, "leased")]
            self._rows(db, "recover_anonymous", now=now, error=gone)
            for row in self._rows(db, "sweep_cancelled", now=now, until=_EVER):
                self.outbox.owe(db, rows.job(row))
            self._rows(db, "recover")
            self._rows(db, "correct_clock", now=now)
            newest = self._rows(db, "newest_queued")
            self._last_queued_at = newest[0]["queued_at"] if newest else 0.0
            if self._last_queued_at > now:
                self._rows(db, "correct_deadlines", now=now)

        await self._db.run(work)

    # For any node

    async def put(self, job: Job, *, durable: bool) -> Job:
        """See `Store.put`."""

        def work(db: sqlite3.Connection) -> tuple[Job, bool]:
            # A clock that was set back must not let new jobs overtake.
            self._last_queued_at = max(self._now(), self._last_queued_at)
            values = {**rows.new_job(job), "queued_at": self._last_queued_at}
            full = self._queue.refusal(db, job.owner, self._now())
            if full is None and self._rows(db, "put", **values):
                return job, True
            found = self._rows(db, "get", id=job.id) or self._rows(
                db, "by_key", idempotency_key=job.idempotency_key
            )
            if not found and full is not None:
                raise full
            return rows.job(found[0]), False

        def told(done: tuple[Job, bool]) -> None:
            if done[1]:
                # Before the sync: the job may be running by the time that is done. What `progress`
                # told by then is kept.
                self._claimable.set()
                self._feed.publish(done[0])

        # Works are taken in turn: a claim that is sent now comes after the insert, and need not
        # wait for word of it.
        asyncio.get_running_loop().call_soon(self._claimable.set)
        # Durable also for a job that is there already: whoever put it may still wait for the disk.
        return (await self._db.run(work, durable=durable, told=told))[0]

    async def cancel(self, job_id: str, error: dict[str, Any]) -> Cancelled:
        """See `Store.cancel`."""
        given = rows.dumps(error)

        def work(db: sqlite3.Connection) -> Job | None:
            job = self._one(db, "cancel_queued", id=job_id, now=self._now(), error=given)
            return job or self._one(db, "ask_cancel", id=job_id, error=given)

        job = await self._db.run(work, durable=True, told=self._changed, told_late=_is_over)
        if job is None:
            return "gone"
        return "removed" if job.state.is_terminal else "asked"

    async def reprioritise(self, job_id: str, priority: int) -> bool:
        """See `Store.reprioritise`."""
        return await self._changing("reprioritise", id=job_id, priority=priority) is not None

    def watch(self, after: int | None = None) -> AsyncIterator[Change]:
        """See `Store.watch`."""
        return self._feed.watch(after)

    # For a worker

    async def claim(self, want: Want) -> Lease | None:
        """See `Store.claim`."""
        now = self._now()
        token = uuid.uuid4().hex
        prepared = rows.dumps(sorted(want.prepared))
        lease = {"lease": token, "lease_until": now + LEASE_S}

        def work(db: sqlite3.Connection) -> Job | None:
            found = self._queue.claim(db, prepared, now, lease)
            return rows.job(found[0]) if found else None

        job = await self._db.run(work, told=self._changed)
        return None if job is None else Lease(job, token)

    async def wait(self, timeout: float) -> None:
        """See `Store.wait`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._claimable.wait()
                self._claimable.clear()

    async def renew(self, leases: Leases) -> tuple[Leases, Leases]:
        """See `Store.renew`."""
        until = self._now() + LEASE_S

        def work(db: sqlite3.Connection) -> list[Rows]:
            return [
                self._rows(db, "renew", lease=lease.token, lease_until=until) for lease in leases
            ]

        found = list(zip(leases, await self._db.run(work), strict=True))
        lost = [lease for lease, kept in found if not kept]
        return lost, [lease for lease, kept in found if kept and kept[0]["cancel_asked"]]

    def progress(self, lease: Lease, data: dict[str, Any]) -> None:
        """See `Store.progress`."""
        self._progress.setdefault(lease.job.id, {}).update(data)

    async def finish(self, lease: Lease, outcome: Outcome) -> Job:
        """See `Store.finish`."""
        if lease.job.is_anonymous and outcome.state is State.SUCCEEDED:
            # Whoever waits is the only one who will ever want the answer: it goes out while the
            # row is written.
            early = _finished(lease, outcome, self._now())
            self._early[early.id] = early
            asyncio.get_running_loop().call_soon(self._feed.publish, early)
        try:
            return await self._finish(lease, outcome)
        finally:
            self._early.pop(lease.job.id, None)

    async def _finish(self, lease: Lease, outcome: Outcome) -> Job:
        is_over = outcome.state.is_terminal
        return await self._leased(
            lease,
            "finish",
            state=outcome.state,
            graph=rows.dumps(outcome.graph),
            result=rows.dumps(outcome.result),
            warnings=rows.dumps(outcome.warnings),
            error=None if outcome.error is None else rows.dumps(outcome.error),
            prompt_id=outcome.prompt_id,
            started_at=outcome.started_at,
            finished_at=self._now() if is_over else None,
            has_files=int(bool(outcome.result.get("outputs"))),
        )

    async def fail(
        self, lease: Lease, error: dict[str, Any], *, retry_in: float | None, max_attempts: int
    ) -> Job:
        """See `Store.fail`."""
        now = self._now()
        if retry_in is not None and lease.job.attempt < max_attempts:
            # At once means at once, also where the clock is set back meanwhile.
            not_before = now + retry_in if retry_in else 0.0
            job = await self._given_back(lease, "retry", not_before=not_before)
            asyncio.get_running_loop().call_later(retry_in, self._claimable.set)
            return job
        state = State.CANCELLED if error["code"] in ("cancelled", "client_gone") else State.FAILED
        told = self.progress_of(lease.job.id)
        return await self._leased(
            lease,
            "fail",
            now=now,
            error=rows.dumps(error),
            state=state,
            started_at=told.get("started_at"),
            prompt_id=told.get("prompt_id"),
            progress=rows.dumps(told.get("progress")),
        )

    async def release(self, lease: Lease) -> Job:
        """See `Store.release`."""
        return await self._given_back(lease, "release")

    async def _given_back(self, lease: Lease, name: str, **values: Any) -> Job:
        """Queue a leased job again, or end it where that was asked; raises LeaseLost."""
        return await self._leased(lease, "cancel_leased", name, now=self._now(), **values)

    async def _leased(self, lease: Lease, *names: str, **values: Any) -> Job:
        """Change a leased job by the first of the statements that fits; raises LeaseLost."""
        durable = not lease.job.is_anonymous
        given = {"id": lease.job.id, "lease": lease.token, **values}
        job = await self._db.run(
            lambda db: next(filter(None, (self._one(db, name, **given) for name in names)), None),
            durable=durable,
            told=self._changed,
            told_late=_is_over if durable else None,
        )
        if job is None:
            raise errors.LeaseLost
        return job

    async def sweep(self) -> None:
        """See `Store.sweep`."""
        now = self._now()

        def work(db: sqlite3.Connection) -> Jobs:
            late = self._rows(db, "sweep_deadlines", now=now, error=rows.dumps(_LATE.to_dict()))
            late += self._rows(db, "sweep_cancelled", now=now, until=now)
            return [self._owing(db, row) for row in late + self._rows(db, "sweep_leases", now=now)]

        def told(jobs: Jobs) -> None:
            for job in jobs:
                self._changed(job)

        await self._db.run(work, told=told)

    # For the janitor

    async def forget_files(self, job_id: str) -> None:
        """See `Store.forget_files`."""
        await self._db.run(lambda db: self._rows(db, "forget_files", id=job_id))

    async def delete(self, job_id: str) -> bool:
        """See `Store.delete`."""

        def work(db: sqlite3.Connection) -> bool:
            deleted = bool(self._rows(db, "delete", id=job_id))
            if deleted:
                self._rows(db, "delete_deliveries", id=job_id)
                self.generations.drop(db, job_id)
            return deleted

        return await self._db.run(work, durable=True)

    async def expire(self, before: float) -> int:
        """See `Store.expire`."""

        def work(db: sqlite3.Connection) -> int:
            deleted = self._rows(db, "expire", before=before)
            for row in deleted:
                self._rows(db, "delete_deliveries", id=row["id"])
            return len(deleted)

        return await self._db.run(work)

    # The database

    def _changed(self, job: Job | None) -> None:
        """Tell of a change that is committed."""
        if job is None:
            return
        if job.state is State.QUEUED or self._policy.most_running_per_owner:
            # What ends or is only delivered now may have held up others of its owner.
            self._claimable.set()
        if job.state.is_terminal and owes(job):
            self.outbox.wake()
        if job.state.is_terminal or job.state is State.QUEUED:
            self._progress.pop(job.id, None)
        self._feed.publish(job)

    async def _changing(self, name: str, **values: Any) -> Job | None:
        """Change one job, and tell of it."""
        return await self._db.run(lambda db: self._one(db, name, **values), told=self._changed)

    def _one(self, db: sqlite3.Connection, name: str, **values: Any) -> Job | None:
        found = self._rows(db, name, **values)
        return self._owing(db, found[0]) if found else None

    def _owing(self, db: sqlite3.Connection, row: sqlite3.Row) -> Job:
        job = rows.job(row)
        if job.state.is_terminal:
            self.outbox.owe(db, job)
        if job.state is State.SUCCEEDED:
            self._queue.learn(db, row["shape"], job.result)
            if self._policy.keeps_generations:
                self.generations.keep(db, job)
        return job


def _is_over(job: Job | None) -> bool:
    """Whether a change is the last: what follows another is told after it."""
    return job is not None and job.state.is_terminal


def _finished(lease: Lease, outcome: Outcome, now: float) -> Job:
    return replace(
        lease.job,
        state=outcome.state,
        graph=outcome.graph,
        result=outcome.result,
        warnings=outcome.warnings,
        prompt_id=outcome.prompt_id,
        started_at=outcome.started_at,
        finished_at=now,
    )
