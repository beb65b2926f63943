"""The queue of the embedded engine: whose turn it is, who stands where, who may still come in.

Works for one connection, inside the transactions of the store. What is asked often, the numbers
of jobs, is kept by triggers: nothing here looks at every queued job.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import errors
from gateway.jobs import estimate, rows
from gateway.jobs.estimate import NOTHING, OVERALL, Active, Block, Durations, Known, Place
from gateway.jobs.policy import Owner, Policy, ahead_in_turns, turns

Rows = list[sqlite3.Row]

#: Seconds of rank that make a block: `queue_blocks` counts the queued jobs of each.
BLOCK_S = 2.0
#: Own jobs before one of the same key that are counted under FAIR_SHARE to look ahead.
_FAR = 1000
_FIRST_BLOCK = -(2**62)
#: A refusal's Retry-After holds for the refusals of so many seconds: they come in floods.
_FRESH_S = 1.0


@dataclass(frozen=True)
class Reach:
    """How far `peek` looks: see `Store.peek`."""

    count: int
    nearest: int
    horizon: float


class SqliteQueue:
    """See `jobs.store.Store`; each method is a work of the store's database."""

    def __init__(
        self, sql: dict[str, str], policy: Policy, started_at: Callable[[str], float | None]
    ) -> None:
        """`started_at` says when ComfyUI began a job that runs."""
        self._sql = sql
        self._policy = policy
        self._started_at = started_at
        self._retry: dict[str | None, tuple[float, float]] = {}

    # Coming in

    def refusal(
        self, db: sqlite3.Connection, owner: str | None, now: float
    ) -> errors.QueueFull | None:
        """Return why one more job may not wait, or None when it may."""
        if not self._policy.limits_waiting:
            return None
        most = self._policy.most_queued
        if most and (queued := self._count(db, "queued")) >= most:
            # What a refusal says of the wait is about the one place, or the few, that are needed.
            ahead = Counter({OVERALL: queued - most})
            return errors.QueueFull(
                f"{queued} jobs are queued (MAX_QUEUE_DEPTH={most}); try again later.",
                retry_after=self._retry_after(db, None, lambda: ahead, now),
            )
        most, name = self._policy.most_queued_per_owner, owner or ""
        if most and (queued := self._count(db, "queued_of_owner", owner=name)) >= most:
            return errors.KeyQueueFull(
                f"{queued} jobs of this key are queued (MAX_QUEUED_PER_KEY={most}); "
                "try again later.",
                retry_after=self._retry_after(db, name, lambda: self._ahead_of(db, name), now),
            )
        return None

    def _retry_after(
        self,
        db: sqlite3.Connection,
        owner: str | None,
        ahead: Callable[[], Counter[int]],
        now: float,
    ) -> float:
        """Return when there is room, for an owner or, with None, in the queue itself."""
        at, told = self._retry.get(owner, (0.0, 0.0))
        if not 0 <= now - at < _FRESH_S:
            told = estimate.retry_after(ahead(), self._active(db), self._known(db), now)
            self._retry[owner] = (now, told)
        return told

    def _ahead_of(self, db: sqlite3.Connection, owner: str) -> Counter[int]:
        """Return what comes before the first queued job of an owner."""
        first = self._rows(db, "first_of_owner", owner=owner)
        return next(self._ahead(db, first), Counter())

    # Going out

    def claim(
        self, db: sqlite3.Connection, prepared: str, now: float, lease: dict[str, Any]
    ) -> Rows:
        """Return the row of the job whose turn it is, leased; `prepared` is a JSON list of ids."""
        if not self._policy.tells_owners_apart:
            return self._rows(db, "claim", prepared=prepared, now=now, **lease)
        owners = [Owner(**row) for row in self._rows(db, "owners")]
        ready: dict[str, sqlite3.Row] = {}
        for row in self._rows(db, "prepared", prepared=prepared, now=now):
            ready.setdefault(row["owner"], row)
        first: sqlite3.Row | None = None
        for owner in turns(owners, self._policy):
            found = self._rows(db, "ready_of_owner", owner=owner.name, now=now)
            found += [ready[owner.name]] if owner.name in ready else []
            first = min([*found, *([first] if first else [])], key=_place, default=None)
            if first is not None and self._policy.is_fair:
                break
        if first is None:
            return []
        if self._policy.is_fair:
            db.execute(self._sql["serve"], {"owner": first["owner"]})
        return self._rows(db, "claim_one", id=first["id"], **lease)

    def learn(self, db: sqlite3.Connection, shape: int, result: dict[str, Any]) -> None:
        """Remember what a job of this shape took, as its result tells."""
        seconds = estimate.duration_of(result)
        if seconds is None:
            return
        known = _durations(self._rows(db, "durations_of", shape=shape))
        ran = known.known.get(OVERALL, NOTHING).runs + 1
        for one in {shape, OVERALL}:
            found = known.known.get(one, NOTHING).blended(seconds)
            values = {"shape": one, "seconds": found.seconds, "runs": found.runs, "ran": ran}
            db.execute(self._sql["learn"], values)
            if found.runs == 1:
                db.execute(self._sql["forget_durations"], {"most": estimate.MOST_SHAPES})

    # Ahead of the turn

    def peek(self, db: sqlite3.Connection, reach: Reach, now: float) -> list[str]:
        """Return the first jobs with something to fetch that start soon; see `Store.peek`."""
        if not self._rows(db, "fetching"):
            return []
        soon = reach.horizon - sum(self._known(db).remaining(self._active(db), now))
        if self._policy.is_fair:
            return self._peek_by_turns(db, reach, soon)
        rank, seq = max(self._nth(db, reach.nearest - 1), self._due_within(db, soon))
        found = self._rows(db, "peek", rank=rank, seq=seq, limit=reach.count)
        return [row["id"] for row in found]

    def _nth(self, db: sqlite3.Connection, n: int) -> tuple[float, int]:
        if n < 0:
            return _BEGINNING
        found = self._rows(db, "nth", n=n)
        return _place(found[0]) if found else _END

    def _due_within(self, db: sqlite3.Connection, seconds: float) -> tuple[float, int]:
        """Return the place of the last job that starts within so many seconds."""
        known = self._known(db)
        blocks = (Block(**row) for row in db.execute(self._sql["blocks"]))
        number, left = estimate.within(blocks, known, seconds)
        if number is None:
            return _END
        last = _BEGINNING
        for row in db.execute(self._sql["in_block"], _block(number)):
            if left < 0:
                break
            last = _place(row)
            left -= known.assumed(row["shape"])
        return last

    def _peek_by_turns(self, db: sqlite3.Connection, reach: Reach, seconds: float) -> list[str]:
        mean = self._known(db).assumed(OVERALL)
        owners = [Owner(**row) for row in self._rows(db, "owners")]
        found: list[tuple[int, str]] = []
        for owner in owners:
            listed = self._rows(db, "fetching_of_owner", owner=owner.name, limit=reach.count)
            for index, row in enumerate(listed):
                values = {"owner": owner.name, "rank": row["rank"], "seq": row["seq"]}
                before = index + self._count(db, "instant_before", limit=_FAR, **values)
                ahead = ahead_in_turns(owners, owner, before)
                if ahead >= reach.nearest and (ahead * mean > seconds or before >= _FAR):
                    break
                found.append((ahead, row["id"]))
        return [job_id for _, job_id in sorted(found)[: reach.count]]

    # Who stands where

    def places(
        self, db: sqlite3.Connection, job_ids: Sequence[str], now: float
    ) -> dict[str, Place]:
        """Return the places of those that are queued."""
        keys = self._rows(db, "keys", ids=rows.dumps(job_ids))
        if not keys:
            return {}
        active, known = self._active(db), self._known(db)
        found = {}
        for key, ahead in zip(keys, self._ahead(db, keys), strict=True):
            expected = estimate.estimate(key["shape"], ahead, active, known, now)
            found[key["id"]] = Place(ahead.total() + 1, expected)
        return found

    def _ahead(self, db: sqlite3.Connection, keys: Rows) -> Iterator[Counter[int]]:
        """Yield how many jobs of each shape come before each of these, which are in order."""
        return self._ahead_by_turns(db, keys) if self._policy.is_fair else self._before(db, keys)

    def _before(self, db: sqlite3.Connection, keys: Rows) -> Iterator[Counter[int]]:
        """Count blocks, and the jobs of the last block: each once, however many are asked for."""
        blocks: Counter[int] = Counter()
        inside: Counter[int] = Counter()
        number, since = _FIRST_BLOCK, _BEGINNING
        for key in keys:
            place = _place(key)
            following = int(place[0] / BLOCK_S)
            if following != number:
                between = {"first": number, "last": following}
                blocks += _counted(self._rows(db, "blocks_between", **between))
                inside, number, since = Counter(), following, (_block(following)["begin"], 0)
            values = {"from_rank": since[0], "from_seq": since[1], "number": number}
            passed = self._rows(db, "queued_between", rank=place[0], seq=place[1], **values)
            inside += _counted(passed)
            since = place
            yield blocks + inside

    def _ahead_by_turns(self, db: sqlite3.Connection, keys: Rows) -> Iterator[Counter[int]]:
        owners = {row["name"]: Owner(**row) for row in self._rows(db, "owners")}
        counted: dict[str, tuple[tuple[float, int], int]] = {}
        for key in keys:
            name, place = key["owner"], _place(key)
            since, before = counted.get(name, (_BEGINNING, 0))
            values = {"from_rank": since[0], "from_seq": since[1], "owner": name}
            before += self._count(db, "owned_between", rank=place[0], seq=place[1], **values)
            counted[name] = (place, before)
            yield Counter({OVERALL: ahead_in_turns(owners.values(), owners[name], before)})

    # What is known

    def _active(self, db: sqlite3.Connection) -> list[Active]:
        return [
            Active(row["shape"], self._started_at(row["id"])) for row in self._rows(db, "active")
        ]

    def _known(self, db: sqlite3.Connection) -> Durations:
        return _durations(self._rows(db, "durations"))

    def _count(self, db: sqlite3.Connection, name: str, **values: Any) -> int:
        return int(db.execute(self._sql[name], values).fetchone()["jobs"])

    def _rows(self, db: sqlite3.Connection, name: str, **values: Any) -> Rows:
        return db.execute(self._sql[name], values).fetchall()


_BEGINNING = (float("-inf"), 0)
_END = (float("inf"), 0)


def _place(row: sqlite3.Row) -> tuple[float, int]:
    return row["rank"], row["seq"]


def _durations(found: Rows) -> Durations:
    return Durations({row["shape"]: Known(row["seconds"], row["runs"]) for row in found})


def _counted(found: Rows) -> Counter[int]:
    return Counter({row["shape"]: row["jobs"] for row in found})


def _block(number: int) -> dict[str, Any]:
    # A little before it begins, for what rounding does; the statement looks at the number again.
    begin = number if number > 0 else number - 1
    return {"number": number, "begin": begin * BLOCK_S - 1.0}
