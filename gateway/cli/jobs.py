"""`gateway jobs`: what the gateway has done, does, and will do."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from gateway.cli.client import Client


async def listed(client: Client, *, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest jobs."""
    query = {"limit": str(limit)} | ({"state": state} if state else {})
    found: list[dict[str, Any]] = (await client.ask("GET", "/jobs", params=query))["jobs"]
    return found


async def shown(client: Client, job_id: str) -> dict[str, Any]:
    """Return the record of a job."""
    return await client.ask("GET", f"/jobs/{quote(job_id, safe='')}")


async def cancelled(client: Client, job_id: str) -> str:
    """Cancel a job; return the state it has now."""
    answer = await client.ask("POST", f"/jobs/{quote(job_id, safe='')}/cancel")
    return str(answer["state"])


def row(job: dict[str, Any]) -> tuple[str, ...]:
    """Return a job as a line of the table: id, state, progress, created, took, outputs, error."""
    error = job.get("error") or {}
    return (
        job["id"],
        standing(job),
        f"{job['progress']['value']:.0%}",
        job["created_at"][:19].replace("T", " "),
        _took(job),
        str(len(job["outputs"])),
        error.get("code", ""),
    )


def standing(job: dict[str, Any]) -> str:
    """Return the state in words: preparing, queued (3rd in line is "queued, 3"), running, ..."""
    if job.get("phase"):
        return str(job["phase"])
    position = job.get("position")
    return f"{job['state']}, {position}" if position is not None else str(job["state"])


def _took(job: dict[str, Any]) -> str:
    began, ended = job.get("started_at"), job.get("finished_at")
    if not (began and ended):
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds:.1f} s"
