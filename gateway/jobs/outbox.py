"""What a job that is over owes to whom; pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import urlsplit

from gateway.jobs.job import Job, State

Kind = Literal["webhook_v2", "webhook"]

#: Calls to one destination that run at most at once.
PER_DESTINATION = 4


class DeliveryState(StrEnum):
    """pending -> delivered | dead; a replay makes it pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A call that somebody is owed. Times are seconds since 1970."""

    id: str
    job_id: str
    kind: Kind
    url: str
    #: Scheme, host and port: calls to one are bounded together.
    destination: str
    #: Legacy: the index of the output that it is about.
    output: int | None = None
    state: DeliveryState = DeliveryState.PENDING
    #: {at, status?, error?, duration} of each call, oldest first; the newest `ATTEMPTS_KEPT`.
    attempts: list[dict[str, Any]] = field(default_factory=list)
    #: Calls since it became pending: what the schedule counts.
    tries: int = 0
    #: When the next call is due; None once it is over.
    next_at: float | None = None
    created_at: float


#: Calls of one delivery that are remembered: replays add to them.
ATTEMPTS_KEPT = 50


def owes(job: Job) -> bool:
    """Whether somebody is to be called when the job is over."""
    return bool(job.request.get("webhook_v2") or job.request.get("webhook"))


def owed(job: Job, now: float) -> list[Delivery]:
    """Return the calls that a job owes which is over."""
    return [*_signed(job, now), *_legacy(job, now)]


def _signed(job: Job, now: float) -> list[Delivery]:
    url = job.request.get("webhook_v2")
    return [_delivery(job, "webhook_v2", url, now)] if url else []


def _legacy(job: Job, now: float) -> list[Delivery]:
    url = job.request.get("webhook")
    if not url:
        return []
    if job.state is not State.SUCCEEDED:
        return [_delivery(job, "webhook", url, now)]
    entries = job.result.get("outputs", [])
    return [_delivery(job, "webhook", url, now, entry["index"]) for entry in entries]


def _delivery(job: Job, kind: Kind, url: str, now: float, output: int | None = None) -> Delivery:
    return Delivery(
        id=uuid.uuid4().hex,
        job_id=job.id,
        kind=kind,
        url=url,
        destination=destination(url),
        output=output,
        next_at=now,
        created_at=now,
    )


def destination(url: str) -> str:
    """Return scheme, host and port of a URL, in small letters."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
