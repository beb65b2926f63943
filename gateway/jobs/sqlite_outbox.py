"""The outbox of the embedded engine: what is owed, its outcome, dead letters."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.jobs import rows
from gateway.jobs.database import Database
from gateway.jobs.job import Job
from gateway.jobs.outbox import (
    ATTEMPTS_KEPT,
    PER_DESTINATION,
    Delivery,
    DeliveryState,
    owed,
)


class SqliteOutbox:
    """See `jobs.store.Outbox`."""

    def __init__(self, db: Database, sql: dict[str, str], clock: Callable[[], float]) -> None:
        self._db = db
        self._sql = sql
        self._clock = clock
        self._owed = asyncio.Event()

    # Inside the transactions of jobs

    def owe(self, db: sqlite3.Connection, job: Job) -> None:
        """Owe what a job owes that is over."""
        calls = owed(job, self._clock())
        db.executemany(self._sql["owe"], [rows.new_delivery(call) for call in calls])
        if calls:
            db.execute(self._sql["mark_owed"], {"id": job.id})

    def wake(self) -> None:
        """Say that a call may be due."""
        self._owed.set()

    # For the sender

    async def due(
        self, count: int, *, busy: Mapping[str, int], skip: Collection[str]
    ) -> list[Delivery]:
        """See `Outbox.due`."""
        now = self._clock()

        def work(db: sqlite3.Connection) -> list[Delivery]:
            found: list[Delivery] = []
            for place in sorted(db.execute(self._sql["destinations"]), key=_next_at):
                room = PER_DESTINATION - busy.get(place["name"], 0)
                if place["next_at"] > now or len(found) >= count:
                    break
                if room > 0:
                    given = {"destination": place["name"], "now": now, "limit": room + len(skip)}
                    calls = map(rows.delivery, db.execute(self._sql["due"], given))
                    found += [call for call in calls if call.id not in skip][:room]
            return found[:count]

        return await self._db.read(work)

    async def next_due(self) -> float | None:
        """See `Outbox.next_due`."""
        found = await self._read("next_due", now=self._clock())
        due: float | None = found[0]["next_at"]
        return due

    async def wait_owed(self, timeout: float | None) -> None:
        """See `Outbox.wait_owed`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._owed.wait()
        self._owed.clear()

    async def delivered(self, delivery: Delivery, attempt: dict[str, Any]) -> None:
        """See `Outbox.delivered`."""
        await self._tried(delivery, attempt, DeliveryState.DELIVERED, None)

    async def failed(
        self, delivery: Delivery, attempt: dict[str, Any], next_at: float | None
    ) -> None:
        """See `Outbox.failed`."""
        state = DeliveryState.DEAD if next_at is None else DeliveryState.PENDING
        await self._tried(delivery, attempt, state, next_at)

    async def _tried(
        self,
        delivery: Delivery,
        attempt: dict[str, Any],
        state: DeliveryState,
        next_at: float | None,
    ) -> None:
        values = {
            "id": delivery.id,
            "state": state,
            "attempts": rows.dumps([*delivery.attempts, attempt][-ATTEMPTS_KEPT:]),
            "now": self._clock(),
            "next_at": next_at,
        }

        def work(db: sqlite3.Connection) -> None:
            for row in db.execute(self._sql["tried"], values).fetchall():
                if state is DeliveryState.DELIVERED:
                    db.execute(self._sql["settle_owed"], {"job_id": row["job_id"]})

        await self._db.run(work, durable=True)

    # For whoever asks, and the janitor

    async def depth(self) -> tuple[int, float | None]:
        """See `Outbox.depth`."""
        found = (await self._read("outbox_depth"))[0]
        return found["pending"], found["oldest"]

    async def get(self, delivery_id: str) -> Delivery | None:
        """See `Outbox.get`."""
        found = await self._read("delivery", id=delivery_id)
        return rows.delivery(found[0]) if found else None

    async def deliveries(
        self,
        *,
        state: DeliveryState | None = None,
        job_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Delivery], str | None]:
        """See `Outbox.deliveries`; the cursor is the number of the page's last delivery."""
        before = int(cursor) if cursor else None
        # One statement each: with every filter in one, none would find its index.
        name = "deliveries_in_state" if state is not None else "deliveries"
        name = "deliveries_of_job" if job_id is not None else name
        found = await self._read(name, state=state, job_id=job_id, limit=limit + 1, before=before)
        following = str(found[limit - 1]["seq"]) if len(found) > limit else None
        return [rows.delivery(row) for row in found[:limit]], following

    async def replay(self, delivery_id: str) -> Delivery | None:
        """See `Outbox.replay`."""
        values = {"id": delivery_id, "now": self._clock()}

        def work(db: sqlite3.Connection) -> Delivery | None:
            found = db.execute(self._sql["replay"], values).fetchall()
            if not found:
                return None
            db.execute(self._sql["mark_owed"], {"id": found[0]["job_id"]})
            return rows.delivery(found[0])

        return await self._db.run(work, durable=True, told=lambda _: self.wake())

    async def bury(self, before: float) -> int:
        """See `Outbox.bury`."""

        def work(db: sqlite3.Connection) -> int:
            buried = db.execute(self._sql["bury"], {"before": before}).fetchall()
            for job_id in {row["job_id"] for row in buried}:
                db.execute(self._sql["settle_owed"], {"job_id": job_id})
            return len(buried)

        return await self._db.run(work)

    async def _read(self, name: str, **values: Any) -> list[sqlite3.Row]:
        return await self._db.read(lambda db: db.execute(self._sql[name], values).fetchall())


def _next_at(place: sqlite3.Row) -> float:
    found: float = place["next_at"]
    return found
