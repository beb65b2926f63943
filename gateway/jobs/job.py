"""A job and its states; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict


class State(StrEnum):
    """queued -> running -> delivering -> succeeded | failed | cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over; such a state never changes."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class ModelInput(TypedDict):
    """An input that names weights by URL, and the folder of models they belong to."""

    node_id: str
    name: str
    url: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """One accepted prompt. Times are seconds since 1970."""

    #: The caller's name for it, or a UUID.
    id: str
    #: The request's fields to echo, less the graph, credentials and extra_data.
    request: dict[str, Any]
    #: The graph: as it was accepted, then as it was run.
    graph: dict[str, Any]
    #: Salted hash of the whole request: tells whether an id names the same one.
    fingerprint: str
    created_at: float
    state: State = State.QUEUED
    priority: int = 0
    #: 1, and one more for each time ComfyUI died while it ran this job.
    attempt: int = 1
    #: Synchronous, with neither id nor Idempotency-Key: of no use without its client.
    is_anonymous: bool = False
    #: Inputs are to be fetched before it can run.
    needs_fetch: bool = False
    #: The inputs that name weights by URL.
    models: list[ModelInput] = field(default_factory=list)
    #: Names of the files in the input folder that it holds until it is over.
    inputs: list[str] = field(default_factory=list)
    #: Credentials or extra_data, which live in memory only, belong to it.
    needs_secrets: bool = False
    idempotency_key: str | None = None
    #: Name of the API key that sent it.
    owner: str | None = None
    #: When it fails with `timeout`.
    deadline: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    cancel_asked: bool = False
    prompt_id: str | None = None
    #: {outputs, texts, stats, execution_cached, node_errors, sources, ...}, once it has run.
    result: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    #: {code, message, status, ...} of a job that failed or was cancelled.
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Lease:
    """A worker's right to run a job; `token` is the fence that late answers break on."""

    job: Job
    token: str


@dataclass(frozen=True)
class Holding:
    """The files in the input folder that a queued job holds."""

    job_id: str
    names: list[str]


@dataclass(frozen=True)
class Change:
    """A state that a job entered, or a wish for its end (`cancel_asked`)."""

    event_id: int
    job: Job


@dataclass(frozen=True)
class Want:
    """What a worker can take: jobs with nothing to fetch, and the ones it has prepared."""

    prepared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """How a job ended, or what it owes while it is delivered."""

    state: State
    graph: dict[str, Any]
    result: dict[str, Any]
    warnings: list[str]
    prompt_id: str | None = None
    started_at: float | None = None
    error: dict[str, Any] | None = None
