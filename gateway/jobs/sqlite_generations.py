"""What was made, in the embedded engine: found by words, kept by time."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from gateway import errors
from gateway.jobs import rows, words
from gateway.jobs.database import Database
from gateway.jobs.generation import Sought, generations
from gateway.jobs.job import Job
from gateway.jobs.store import Sidecars

#: Numbers that the rows of one millisecond have.
_ROOM = 65536
_LAST = 2**63 - 1
#: Rows that go into the index of words together; whoever searches has all the others put in.
_TOGETHER = 64
_WORDS = ("prompt", "negative_prompt")
_FILES = ("lora", "model")
_RANGES = ("seed_min", "seed_max", "min_score")


class SqliteGenerations:
    """See `jobs.store.Generations`."""

    def __init__(
        self,
        db: Database,
        sql: dict[str, str],
        clock: Callable[[], float],
        is_behind: Callable[[], bool],
    ) -> None:
        """`is_behind` says whether a job's end was told whose rows are still being written."""
        self._db = db
        self._sql = sql
        self._clock = clock
        self._is_behind = is_behind
        #: About how many rows are not in the index of words yet.
        self._kept = 0

    # Inside the transactions of jobs

    def keep(self, db: sqlite3.Connection, job: Job) -> None:
        """Remember what a job has made that succeeded."""
        for sidecar in generations(job):
            values = rows.new_generation(sidecar) | {"first": self._moment(sidecar) * _ROOM}
            kept = db.execute(self._sql["keep_generation"], values).fetchall()
            numbers = rows.numbers(sidecar)
            if kept and numbers is not None:
                db.execute(self._sql["keep_numbers"], {"seq": kept[0]["seq"], **numbers})
            self._kept += 1
        if self._kept >= _TOGETHER:
            self._index(db)

    def _index(self, db: sqlite3.Connection) -> None:
        """Put into the index of words what is not there yet."""
        self._kept = 0
        db.execute(self._sql["index_generations"])
        db.execute(self._sql["indexed_generations"])

    def _moment(self, sidecar: dict[str, Any]) -> int:
        """Return when it was made: milliseconds since 1970."""
        told = sidecar["timestamp"]
        at = self._clock() if told is None else datetime.fromisoformat(told).timestamp()
        return round(at * 1000)

    def drop(self, db: sqlite3.Connection, job_id: str) -> bool:
        """Forget what a job has made; return whether there was something."""
        return bool(db.execute(self._sql["forget_generations"], {"id": job_id}).fetchall())

    # For whoever asks, and the janitor

    async def list(
        self, sought: Sought, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[Sidecars, str | None]:
        """See `Generations.list`; the cursor is the number of the page's last row."""
        expression = _expression(sought)
        if expression == "":
            return [], None
        values = {**_bounds(sought, cursor), "words": expression, "limit": limit + 1}
        name = "generations" if expression is None else "generations_found"
        if any(getattr(sought, one) is not None for one in _RANGES):
            name = f"{name}_within"

        def work(db: sqlite3.Connection) -> tuple[Sidecars, str | None]:
            found = db.execute(self._sql[name], values).fetchall()
            following = str(found[limit - 1]["seq"]) if len(found) > limit else None
            return [orjson.loads(row["sidecar"]) for row in found[:limit]], following

        # On a disk that takes no writes the newest rows are missing, and all others are found.
        with contextlib.suppress(errors.StorageFull, errors.StoreBusy):
            await self._catch_up(has_words=expression is not None)
        return await self._db.read(work)

    async def _catch_up(self, *, has_words: bool) -> None:
        """Have everything written that was told, and in the index what is looked for there."""
        if self._is_behind():
            # Works are taken in turn: when this one is done, those rows are there.
            await self._db.run(lambda _: None)
        if not has_words:
            return
        name = "unindexed_generations"
        found = await self._db.read(lambda db: db.execute(self._sql[name]).fetchone())
        if found["number"]:
            await self._db.run(self._index)

    async def forget(self, job_id: str) -> bool:
        """See `Generations.forget`."""
        return await self._db.run(lambda db: self.drop(db, job_id), durable=True)

    async def expire(self, before: float) -> int:
        """See `Generations.expire`."""
        values = {"before": _number(math.ceil(before * 1000))}
        return await self._db.run(
            lambda db: len(db.execute(self._sql["expire_generations"], values).fetchall())
        )


def _number(milliseconds: int) -> int:
    """Return the first number that a row of this millisecond can have."""
    return min(max(milliseconds, 0) * _ROOM, _LAST)


def _bounds(sought: Sought, cursor: str | None) -> dict[str, Any]:
    after, before = 0, _LAST
    if sought.after is not None:
        after = _number(math.floor(round(sought.after * 1000, 3)) + 1)
    if sought.before is not None:
        before = _number(math.ceil(round(sought.before * 1000, 3)))
    if cursor is not None:
        before = min(before, int(cursor))
    seeds = {name: rows.seed_column(getattr(sought, name)) for name in ("seed_min", "seed_max")}
    return {"after": after, "before": before, "min_score": sought.min_score, **seeds}


def _expression(sought: Sought) -> str | None:
    """Return what is looked for in the index: None for anything, "" where nothing can be found."""
    parts = []
    for column in _WORDS:
        given = getattr(sought, column)
        if given is None or not given.strip():
            continue
        phrases = words.sought(given)
        if not phrases:
            # Nothing of it is ever put into the index.
            return ""
        parts.append(f"{column} : ({' AND '.join(phrases)})")
    tags = [
        f'"{words.tag(kind, str(getattr(sought, kind)))}"'
        for kind in rows.TAGGED
        if getattr(sought, kind) is not None
    ]
    tags += [
        f'"{words.tag(kind, getattr(sought, kind).casefold())}"'
        for kind in _FILES
        if getattr(sought, kind) is not None
    ]
    parts += [f"tags : ({' AND '.join(tags)})"] if tags else []
    return " AND ".join(parts) or None
