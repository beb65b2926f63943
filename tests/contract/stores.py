"""What the contract of the job store is told with, for every engine that can be opened by URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.jobs.job import Job, Lease, Outcome, State, Want
from gateway.jobs.store import Store

#: Engine -> URL of a store of its own; another engine is one more line.
ENGINES: dict[str, Callable[[Path], str]] = {"sqlite": lambda folder: f"sqlite:{folder}/jobs.db"}


class Hands:
    """A clock that is put forward, or back, by hand; what a store is opened with."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def forward(self, seconds: float) -> None:
        """Put it forward."""
        self._ahead += seconds


def job(job_id: str = "a", **more: Any) -> Job:
    fields = {"request": {}, "graph": {"1": {"class_type": "A"}}, "fingerprint": "f"}
    return Job(**{"id": job_id, "created_at": time.time(), **fields, **more})


async def put(store: Store, *job_ids: str, **more: Any) -> None:
    for job_id in job_ids:
        await store.put(job(job_id, **more), durable=False)


async def claim(store: Store, *prepared: str) -> Lease:
    lease = await store.claim(Want(frozenset(prepared)))
    assert lease is not None
    return lease


async def claim_all(store: Store, *prepared: str) -> list[str]:
    found = []
    while (lease := await store.claim(Want(frozenset(prepared)))) is not None:
        found.append(lease.job.id)
    return found


async def got(store: Store, job_id: str = "a") -> Job:
    found = await store.get(job_id)
    assert found is not None
    return found


def outcome(state: State = State.SUCCEEDED, **more: Any) -> Outcome:
    return Outcome(**{"state": state, "graph": {}, "result": {}, "warnings": [], **more})
