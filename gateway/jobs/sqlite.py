"""The embedded engine of the job store: SQLite in WAL mode, one connection, one writer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiosqlite
import orjson

from gateway import errors
from gateway.jobs import queries
from gateway.jobs.feed import Feed
from gateway.jobs.job import Change, Job, Lease, Outcome, State, Want
from gateway.jobs.store import Cancelled, Jobs, Leases

# Inside the class, `list` is a method.
Rows = list[sqlite3.Row]

#: Life of a lease that nobody renews, seconds.
LEASE_S = 60.0

_LATE = errors.JobTimeout(
    "The job's timeout passed while it was queued.",
    hint="Counted from acceptance; raise timeout, or leave it out. "
    "Models are fetched while a job is queued: GET /downloads shows those that are slow.",
)
_JSON_COLUMNS = ("request", "graph", "models", "result", "warnings", "error")
_FLAGS = ("is_anonymous", "needs_fetch", "needs_secrets", "cancel_asked")
_FIELDS = (
    *("id", "priority", "attempt", "created_at", "started_at", "finished_at", "deadline"),
    *("owner", "fingerprint", "idempotency_key", "prompt_id"),
)


class SqliteStore:
    """See `jobs.store.Store`; commits are fsynced where a caller was promised the disk."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._db = connection
        self._wal = Path(f"{path}-wal")
        self._sql = queries.load()
        self._feed = Feed()
        self._claimable = asyncio.Event()
        self._progress: dict[str, dict[str, Any]] = {}

    @classmethod
    async def open(cls, path: str) -> SqliteStore:
        """Open or create the database; what a gateway that is gone had leased is queued again."""
        with _translated():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            db = await aiosqlite.connect(path, isolation_level=None)
            try:
                db.row_factory = sqlite3.Row
                await db.execute("PRAGMA journal_mode=WAL")
                # The file is synced by hand where it was promised (`_sync`).
                await db.execute("PRAGMA synchronous=NORMAL")
                await db.execute("PRAGMA busy_timeout=5000")
                await db.execute("PRAGMA cache_size=-4000")
                await db.executescript(queries.read("schema.sql"))
                await _migrate(db)
                store = cls(db, Path(path))
                await store._recover()
            except BaseException:
                await db.close()
                raise
            return store

    async def close(self) -> None:
        """Close the database."""
        await self._db.close()

    async def _recover(self) -> None:
        now = time.time()
        gone = errors.ClientGone("The gateway restarted, and the client was gone.").to_dict()
        await self._rows("recover_anonymous", now=now, error=_dumps(gone))
        await self._rows("recover_cancelled", now=now)
        await self._rows("recover")

    # For any node

    async def put(self, job: Job, *, durable: bool) -> Job:
        """See `Store.put`."""
        # The one connection takes its statements in turn: a claim that is sent now comes after
        # the insert, and need not wait for word of it.
        asyncio.get_running_loop().call_soon(self._claimable.set)
        inserted = await self._rows(
            "put",
            **{name: getattr(job, name) for name in ("id", "priority", "created_at", "deadline")},
            **{name: getattr(job, name) for name in ("owner", "fingerprint", "idempotency_key")},
            **{name: int(getattr(job, name)) for name in _FLAGS[:3]},
            **{name: _dumps(getattr(job, name)) for name in ("request", "graph", "models")},
            warnings=_dumps(job.warnings),
        )
        if inserted:
            # Before the sync: the job may be running by the time that is done. What `progress`
            # told by then is kept.
            self._claimable.set()
            self._feed.publish(job)
        if durable:
            # Also for a job that is there already: whoever put it may still wait for the disk.
            await self._sync()
        if not inserted:
            existing = await self.get(job.id)
            if existing is None and job.idempotency_key is not None:
                existing = await self.by_key(job.idempotency_key)
            assert existing is not None
            return existing
        return job

    async def get(self, job_id: str) -> Job | None:
        """See `Store.get`."""
        return await self._one("get", id=job_id)

    async def by_key(self, idempotency_key: str) -> Job | None:
        """See `Store.by_key`."""
        return await self._one("by_key", idempotency_key=idempotency_key)

    async def list(
        self, *, state: State | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[Jobs, str | None]:
        """See `Store.list`; the cursor is the sequence number of the page's last job."""
        before = int(cursor) if cursor else None
        rows = await self._rows("list", state=state, limit=limit + 1, before=before)
        following = str(rows[limit - 1]["seq"]) if len(rows) > limit else None
        return [_job(row) for row in rows[:limit]], following

    async def depth(self) -> dict[State, int]:
        """See `Store.depth`."""
        found = {State(row["state"]): row["jobs"] for row in await self._rows("depth")}
        return {state: found.get(state, 0) for state in State}

    async def position(self, job: Job) -> int:
        """See `Store.position`."""
        rows = await self._rows("position", id=job.id, priority=job.priority)
        return int(rows[0]["ahead"]) + 1

    async def cancel(self, job_id: str, error: dict[str, Any]) -> Cancelled:
        """See `Store.cancel`."""
        given = _dumps(error)
        job = await self._one("cancel_queued", id=job_id, now=time.time(), error=given)
        if job is not None:
            self._changed(job)
            return "removed"
        job = await self._one("ask_cancel", id=job_id, error=given)
        if job is None:
            return "gone"
        self._changed(job)
        return "asked"

    async def reprioritise(self, job_id: str, priority: int) -> bool:
        """See `Store.reprioritise`."""
        job = await self._one("reprioritise", id=job_id, priority=priority)
        if job is not None:
            self._changed(job)
        return job is not None

    def watch(self, after: int | None = None) -> AsyncIterator[Change]:
        """See `Store.watch`."""
        return self._feed.watch(after)

    # For a worker

    async def claim(self, want: Want) -> Lease | None:
        """See `Store.claim`."""
        now = time.time()
        token = uuid.uuid4().hex
        job = await self._one(
            "claim",
            now=now,
            lease=token,
            lease_until=now + LEASE_S,
            prepared=_dumps(sorted(want.prepared)),
        )
        if job is None:
            return None
        self._changed(job)
        return Lease(job, token)

    async def peek(self, count: int) -> Jobs:
        """See `Store.peek`."""
        return [_job(row) for row in await self._rows("peek", limit=count)]

    async def wait(self, timeout: float) -> None:
        """See `Store.wait`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._claimable.wait()
                self._claimable.clear()

    async def renew(self, leases: Leases) -> tuple[Leases, Leases]:
        """See `Store.renew`."""
        lost: Leases = []
        cancelled: Leases = []
        for lease in leases:
            rows = await self._rows("renew", lease=lease.token, lease_until=time.time() + LEASE_S)
            if not rows:
                lost.append(lease)
            elif rows[0]["cancel_asked"]:
                cancelled.append(lease)
        return lost, cancelled

    def progress(self, lease: Lease, data: dict[str, Any]) -> None:
        """See `Store.progress`."""
        self._progress.setdefault(lease.job.id, {}).update(data)

    def progress_of(self, job_id: str) -> dict[str, Any]:
        """See `Store.progress_of`."""
        return self._progress.get(job_id, {})

    async def finish(self, lease: Lease, outcome: Outcome) -> Job:
        """See `Store.finish`."""
        if lease.job.is_anonymous and outcome.state is State.SUCCEEDED:
            # Whoever waits is the only one who will ever want the answer: it goes out while the
            # row is written.
            asyncio.get_running_loop().call_soon(self._feed.publish, _finished(lease, outcome))
        job = await self._one(
            "finish",
            id=lease.job.id,
            lease=lease.token,
            state=outcome.state,
            graph=_dumps(outcome.graph),
            result=_dumps(outcome.result),
            warnings=_dumps(outcome.warnings),
            error=None if outcome.error is None else _dumps(outcome.error),
            prompt_id=outcome.prompt_id,
            started_at=outcome.started_at,
            finished_at=time.time() if outcome.state.is_terminal else None,
            has_files=int(bool(outcome.result.get("outputs"))),
        )
        return await self._settled(lease, job)

    async def fail(
        self, lease: Lease, error: dict[str, Any], *, retry_in: float | None, max_attempts: int
    ) -> Job:
        """See `Store.fail`."""
        now = time.time()
        if retry_in is not None and lease.job.attempt < max_attempts:
            job = await self._one(
                "retry", id=lease.job.id, lease=lease.token, not_before=now + retry_in
            )
            if job is not None:
                asyncio.get_running_loop().call_later(retry_in, self._claimable.set)
                return await self._settled(lease, job)
        state = State.CANCELLED if error["code"] in ("cancelled", "client_gone") else State.FAILED
        job = await self._one(
            "fail", id=lease.job.id, lease=lease.token, now=now, error=_dumps(error), state=state
        )
        return await self._settled(lease, job)

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        await self._settled(lease, await self._one("release", id=lease.job.id, lease=lease.token))

    async def _settled(self, lease: Lease, job: Job | None) -> Job:
        if job is None:
            raise errors.LeaseLost
        if not lease.job.is_anonymous:
            await self._sync()
        self._changed(job)
        return job

    async def sweep(self) -> None:
        """See `Store.sweep`."""
        now = time.time()
        rows = await self._rows("sweep_deadlines", now=now, error=_dumps(_LATE.to_dict()))
        rows += await self._rows("sweep_leases", now=now)
        for row in rows:
            self._changed(_job(row))

    # For the janitor

    async def expired(self, before: float) -> Jobs:
        """See `Store.expired`."""
        return [_job(row) for row in await self._rows("expired", before=before)]

    async def forget_files(self, job_id: str) -> None:
        """See `Store.forget_files`."""
        await self._rows("forget_files", id=job_id)

    async def delete(self, job_id: str) -> bool:
        """See `Store.delete`."""
        return bool(await self._rows("delete", id=job_id))

    async def expire(self, before: float) -> int:
        """See `Store.expire`."""
        return len(await self._rows("expire", before=before))

    # The database

    def _changed(self, job: Job) -> None:
        if job.state is State.QUEUED:
            self._claimable.set()
        if job.state.is_terminal or job.state is State.QUEUED:
            self._progress.pop(job.id, None)
        self._feed.publish(job)

    async def _one(self, name: str, **values: Any) -> Job | None:
        rows = await self._rows(name, **values)
        return _job(rows[0]) if rows else None

    async def _rows(self, name: str, **values: Any) -> Rows:
        with _translated():
            return list(await self._db.execute_fetchall(self._sql[name], values))

    async def _sync(self) -> None:
        """Put what was committed on the disk; commits of many callers share one sync."""
        with _translated():
            await asyncio.to_thread(_fsync, self._wal)


async def _migrate(db: aiosqlite.Connection) -> None:
    """Bring a database of an earlier release to the newest form; user_version counts the steps."""
    rows = await db.execute_fetchall("PRAGMA user_version")
    done = int(next(iter(rows))[0])
    for number, statements in enumerate(queries.migrations(), start=1):
        if number > done:
            await db.executescript(f"BEGIN; {statements} PRAGMA user_version = {number}; COMMIT;")


def _fsync(path: Path) -> None:
    # synchronous=FULL would do this on every commit, of anonymous jobs and of progress too.
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as failure:
        text = str(failure).lower()
        if "full" in text or "no space" in text or "disk i/o" in text:
            raise errors.StorageFull(
                "The disk of STATE_DIR is full: the job could not be stored.",
                hint="Make room in STATE_DIR, then send it again.",
            ) from failure
        raise


def _finished(lease: Lease, outcome: Outcome) -> Job:
    return replace(
        lease.job,
        state=outcome.state,
        graph=outcome.graph,
        result=outcome.result,
        warnings=outcome.warnings,
        prompt_id=outcome.prompt_id,
        started_at=outcome.started_at,
        finished_at=time.time(),
    )


def _job(row: sqlite3.Row) -> Job:
    values: dict[str, Any] = {name: row[name] for name in _FIELDS}
    values |= {name: bool(row[name]) for name in _FLAGS}
    values |= {name: orjson.loads(row[name]) if row[name] else None for name in _JSON_COLUMNS}
    return Job(**values, state=State(row["state"]))


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()
