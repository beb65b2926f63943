"""System events that wait for their turn: bounded for each job, and jobs take turns; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Events of one job that wait, and of files; the oldest progress, or the oldest, makes room.
CAPACITY = 1000
#: Jobs whose events wait; the one that has waited longest makes room.
JOBS = 100

#: Of these, the newest of a job says all.
_PROGRESS = frozenset({"progress", "progress_state"})


@dataclass(frozen=True)
class Waiting:
    """One event."""

    name: str
    data: Mapping[str, Any]


class Backlog:
    """What is to be sent; each job has a queue of its own, and so have the files."""

    def __init__(self) -> None:
        self._queues: dict[str | None, list[Waiting]] = {}

    def __bool__(self) -> bool:
        """Whether something waits."""
        return bool(self._queues)

    def put(self, event: Waiting, job_id: str | None) -> int:
        """Add an event; return how many were dropped for it."""
        dropped = 0
        if job_id not in self._queues and len(self._queues) >= JOBS:
            oldest = next(key for key in self._queues if key is not None)
            dropped = len(self._queues.pop(oldest))
        queue = self._queues.setdefault(job_id, [])
        if event.name in _PROGRESS:
            # What it replaces is not lost: the newer one says more.
            queue[:] = [one for one in queue if one.name != event.name]
        if len(queue) >= CAPACITY:
            found = (i for i, one in enumerate(queue) if one.name in _PROGRESS)
            del queue[next(found, 0)]
            dropped += 1
        queue.append(event)
        return dropped

    def take(self) -> Waiting:
        """Return the next event; the next time it is another job's turn."""
        key = next(iter(self._queues))
        queue = self._queues.pop(key)
        event = queue.pop(0)
        if queue:
            self._queues[key] = queue
        return event
