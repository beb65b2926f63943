"""What is asked of the embedded engine, and changes nothing: reads never wait for a write."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar

from gateway.jobs import queries, rows
from gateway.jobs.database import Database, Work
from gateway.jobs.estimate import Place
from gateway.jobs.job import Job, State
from gateway.jobs.policy import Policy
from gateway.jobs.sqlite_queue import Reach, SqliteQueue
from gateway.jobs.store import Holdings, Jobs

# Inside the class, `list` is a method.
Rows = list[sqlite3.Row]
_T = TypeVar("_T")

#: Jobs that hold input files, in a page of them.
HOLDINGS = 1000

#: Where the first page begins: no job has this number.
_AFTER_ALL = 2**62


class SqliteReads:
    """See `jobs.store.Store`."""

    def __init__(self, db: Database, now: Callable[[], float], policy: Policy) -> None:
        self._db = db
        self._now = now
        self._sql = queries.load()
        self._policy = policy
        self._progress: dict[str, dict[str, Any]] = {}
        #: Jobs whose end was told while its row is being written: who heard of it asks at once.
        self._early: dict[str, Job] = {}
        self._queue = SqliteQueue(self._sql, policy, self._started_at)

    # For any node

    async def get(self, job_id: str) -> Job | None:
        """See `Store.get`."""
        return self._early.get(job_id) or await self._found("get", id=job_id)

    async def by_key(self, idempotency_key: str) -> Job | None:
        """See `Store.by_key`."""
        return await self._found("by_key", idempotency_key=idempotency_key)

    async def list(
        self, *, state: State | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[Jobs, str | None]:
        """See `Store.list`; the cursor is the sequence number of the page's last job."""
        name = "list" if state is None else "list_in_state"
        page = {"state": state, "limit": limit + 1, "before": int(cursor or _AFTER_ALL)}

        def work(db: sqlite3.Connection) -> tuple[Jobs, str | None]:
            found = self._rows(db, name, **page)
            following = str(found[limit - 1]["seq"]) if len(found) > limit else None
            return [rows.job(row) for row in found[:limit]], following

        return await self._db.read(work)

    async def depth(self) -> dict[State, int]:
        """See `Store.depth`."""
        found = {State(row["state"]): row["jobs"] for row in await self._read("depth")}
        return {state: found.get(state, 0) for state in State}

    async def check_room(self, owner: str | None) -> None:
        """See `Store.check_room`."""
        if not self._policy.limits_waiting:
            return
        full = await self._db.read(lambda db: self._queue.refusal(db, owner, self._now()))
        if full is not None:
            raise full

    async def oldest(self) -> float | None:
        """See `Store.oldest`."""
        found = await self._read("oldest")
        return found[0]["queued_at"] if found else None

    async def position(self, job: Job) -> int:
        """See `Store.position`."""
        found = await self.places([job])
        return found[job.id].position if found else 1

    async def places(self, jobs: Sequence[Job]) -> dict[str, Place]:
        """See `Store.places`."""
        job_ids = [job.id for job in jobs if job.state is State.QUEUED]
        if not job_ids:
            return {}
        now = self._now()
        return await self._at_once(lambda db: self._queue.places(db, job_ids, now))

    async def holdings(self, cursor: str | None = None) -> tuple[Holdings, str | None]:
        """See `Store.holdings`."""
        found = await self._read("holdings", after=int(cursor or 0), limit=HOLDINGS)
        following = str(found[-1]["seq"]) if len(found) == HOLDINGS else None
        return [rows.holding(row) for row in found], following

    def progress_of(self, job_id: str) -> dict[str, Any]:
        """See `Store.progress_of`."""
        return self._progress.get(job_id, {})

    # For a worker and the janitor

    async def peek(
        self,
        count: int,
        *,
        nearest: int = 0,
        horizon: float = math.inf,
        known: Container[str] = frozenset(),
    ) -> Jobs:
        """See `Store.peek`."""
        reach = Reach(count, nearest, horizon)
        now = self._now()

        def work(db: sqlite3.Connection) -> Jobs:
            # A worker looks often, and mostly knows all that it sees.
            new = [job_id for job_id in self._queue.peek(db, reach, now) if job_id not in known]
            return [rows.job(self._rows(db, "get", id=job_id)[0]) for job_id in new]

        return await self._at_once(work)

    async def expired(self, before: float) -> Jobs:
        """See `Store.expired`."""
        return [rows.job(row) for row in await self._read("expired", before=before)]

    # The database

    def _started_at(self, job_id: str) -> float | None:
        # Also asked from the threads of the database: it only looks.
        return self._progress.get(job_id, {}).get("started_at")

    def _rows(self, db: sqlite3.Connection, name: str, **values: Any) -> Rows:
        return db.execute(self._sql[name], values).fetchall()

    async def _at_once(self, work: Work[_T]) -> _T:
        """Read by several statements what was true at one moment."""

        def whole(db: sqlite3.Connection) -> _T:
            db.execute("BEGIN")
            try:
                return work(db)
            finally:
                db.execute("COMMIT")

        return await self._db.read(whole)

    async def _read(self, name: str, **values: Any) -> Rows:
        return await self._db.read(lambda db: self._rows(db, name, **values))

    async def _found(self, name: str, **values: Any) -> Job | None:
        found = await self._read(name, **values)
        return rows.job(found[0]) if found else None
