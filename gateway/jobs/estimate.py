"""How long jobs take and wait, from what jobs of the same shape took lately; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

#: Stands for all shapes together.
OVERALL = 0
#: Shapes whose durations are remembered; the one that ran longest ago is forgotten first.
MOST_SHAPES = 1000
#: Weight of the newest duration; the first few weigh more, so that they make a plain mean.
NEWEST = 0.2
#: What a job is taken to last where nothing is known, seconds: preparing ahead needs a measure.
ASSUMED_S = 10.0
#: Bounds of Retry-After, seconds, and what it says where nothing is known.
SHORTEST_RETRY_S = 1.0
LONGEST_RETRY_S = 3600.0
DEFAULT_RETRY_S = 10.0


@dataclass(frozen=True)
class Known:
    """A moving mean in seconds, and how many jobs it was made of."""

    seconds: float
    runs: int

    def blended(self, seconds: float) -> Known:
        """Return it with one more duration."""
        runs = self.runs + 1
        weight = max(NEWEST, 1 / runs)
        return Known(self.seconds + (seconds - self.seconds) * weight, runs)


#: Before the first.
NOTHING = Known(0.0, 0)


@dataclass(frozen=True)
class Estimate:
    """Seconds until a job starts, and seconds that it runs then."""

    wait: float
    duration: float


@dataclass(frozen=True)
class Place:
    """Where a queued job stands, from 1; the estimate is None while nothing is known."""

    position: int
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Active:
    """A job that is claimed; `started_at` is None until ComfyUI began it."""

    shape: int
    started_at: float | None


@dataclass(frozen=True)
class Durations:
    """What is known, by shape."""

    known: Mapping[int, Known] = field(default_factory=dict)

    def of(self, shape: int) -> float | None:
        """Return what a job of this shape lasts: as others do where its shape is new."""
        found = self.known.get(shape) or self.known.get(OVERALL)
        return None if found is None else found.seconds

    def assumed(self, shape: int) -> float:
        """Return what a job of this shape lasts, or a guess."""
        found = self.of(shape)
        return ASSUMED_S if found is None else found

    def total(self, counts: Mapping[int, int]) -> float:
        """Return what so many jobs of these shapes last one after another."""
        return sum(self.assumed(shape) * jobs for shape, jobs in counts.items())

    def remaining(self, active: Iterable[Active], now: float) -> list[float]:
        """Return what remains of each job that is claimed."""
        return [
            max(0.0, self.assumed(one.shape) - (now - (one.started_at or now))) for one in active
        ]


def duration_of(result: Mapping[str, Any]) -> float | None:
    """Return how long a job kept the engine, seconds, from its result; None when it never did."""
    execution = result.get("stats", {}).get("comfy_execution")
    return None if execution is None else max(0.0, float(execution["duration"]) / 1000)


def estimate(
    shape: int, ahead: Mapping[int, int], active: Sequence[Active], known: Durations, now: float
) -> Estimate | None:
    """Return when a job starts that these jobs come before, by shape; None: nothing is known."""
    duration = known.of(shape)
    if duration is None:
        return None
    wait = known.total(ahead) + sum(known.remaining(active, now))
    return Estimate(wait=wait, duration=duration)


def retry_after(
    ahead: Mapping[int, int], active: Sequence[Active], known: Durations, now: float
) -> float:
    """Return the seconds until a job that these come before has left the queue.

    The first is claimed when the job that ends soonest has ended.
    """
    if known.of(OVERALL) is None:
        return DEFAULT_RETRY_S
    wait = known.total(ahead) + min(known.remaining(active, now), default=0.0)
    return min(max(wait, SHORTEST_RETRY_S), LONGEST_RETRY_S)


@dataclass(frozen=True)
class Block:
    """Queued jobs of one shape that stand together in the queue; lower numbers come first."""

    number: int
    shape: int
    jobs: int


def within(blocks: Iterable[Block], known: Durations, seconds: float) -> tuple[int | None, float]:
    """Return the block in which the time is up, and what is left of the time where it begins.

    None when the whole queue is done by then. The blocks come in the queue's order.
    """
    left = seconds
    for number, shapes in groupby(blocks, key=lambda block: block.number):
        took = known.total({block.shape: block.jobs for block in shapes})
        if took > left:
            return number, left
        left -= took
    return None, left
