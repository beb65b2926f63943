"""Which files make room for another; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Hold(IntEnum):
    """How firmly a file is kept; a lower one goes first."""

    FREE = 0
    #: Only a job that waits for its turn needs it.
    QUEUED = 1
    #: Only jobs need it that themselves wait for room.
    WAITING = 2
    #: A job that comes first waits for its turn with it.
    EARLIER = 3
    #: It is in use: it stays.
    FIRM = 4


@dataclass(frozen=True)
class Candidate:
    """A file as the plan sees it."""

    name: str
    size: int
    hold: Hold = Hold.FREE


def eviction_plan(
    oldest_first: Iterable[Candidate], needed_bytes: int, most: Hold = Hold.QUEUED
) -> list[Candidate] | None:
    """Return what to evict, in this order, so that `needed_bytes` come free; None: it cannot be.

    What is held more firmly than `most` stays. A file goes only when those that are held less,
    and those used longer ago, do not suffice; none goes needlessly. Reads no further than it must.
    """
    if needed_bytes <= 0:
        return []
    by_hold: dict[Hold, list[Candidate]] = {hold: [] for hold in Hold}
    free = 0
    for candidate in oldest_first:
        by_hold[candidate.hold].append(candidate)
        free += candidate.size if candidate.hold is Hold.FREE else 0
        if free >= needed_bytes:
            break
    chosen: list[Candidate] = []
    gained = 0
    for candidate in (one for hold in Hold if hold <= most for one in by_hold[hold]):
        if gained >= needed_bytes:
            break
        chosen.append(candidate)
        gained += candidate.size
    return _spared(chosen, gained - needed_bytes) if gained >= needed_bytes else None


def _spared(chosen: list[Candidate], surplus: int) -> list[Candidate]:
    """Return what must go all the same, after small files that a larger one made needless."""
    kept = []
    for candidate in reversed(chosen):
        if candidate.size <= surplus:
            surplus -= candidate.size
        else:
            kept.append(candidate)
    return kept[::-1]
