"""What belongs to a job and must never reach a disk or a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway import errors
from gateway.jobs.job import Job
from gateway.schemas import Credential


@dataclass(frozen=True, repr=False)
class Secrets:
    """Credentials for fetches, and extra_data for ComfyUI."""

    credentials: list[Credential] = field(default_factory=list)
    extra_data: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.credentials or self.extra_data)


class Vault:
    """Holds secrets in memory from acceptance to the job's end."""

    def __init__(self) -> None:
        # By id, then by fingerprint: of requests with one id at once, one becomes the job.
        self._held: dict[str, dict[str, Secrets]] = {}

    def put(self, job: Job, secrets: Secrets) -> None:
        """Keep what a job will need."""
        if secrets:
            self._held.setdefault(job.id, {})[job.fingerprint] = secrets

    def of(self, job: Job) -> Secrets:
        """Return a job's secrets; raises CredentialsLost when a restart has lost them."""
        found = self._held.get(job.id, {}).get(job.fingerprint)
        if found is None and job.needs_secrets:
            raise errors.CredentialsLost
        return found or Secrets()

    def forget(self, job_id: str) -> None:
        """Let go of a job's secrets."""
        self._held.pop(job_id, None)
