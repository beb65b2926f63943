"""`gateway jobs`: what the gateway has done, does, and will do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.cli.client import Client, Refused, job_path
from gateway.cli.failure import CommandFailed


async def listed(client: Client, *, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest jobs."""
    query = {"limit": str(limit)} | ({"state": state} if state else {})
    found: list[dict[str, Any]] = (await client.ask("GET", "/jobs", params=query))["jobs"]
    return found


async def shown(client: Client, job_id: str) -> dict[str, Any]:
    """Return the record of a job."""
    return await client.ask("GET", job_path(job_id))


async def cancelled(client: Client, job_id: str) -> str:
    """Cancel a job; return the state it has now."""
    answer = await client.ask("POST", f"{job_path(job_id)}/cancel")
    return str(answer["state"])


def together(refused: list[Refused]) -> CommandFailed:
    """Return several refusals as one."""
    hints = dict.fromkeys(one.hint for one in refused if one.hint)
    return CommandFailed("\n".join(one.message for one in refused), hint="\n".join(hints) or None)


COLUMNS = ("ID", "STATE", "DONE", "CREATED (UTC)", "TOOK", "OUTPUTS", "ERROR")


def row(job: dict[str, Any]) -> tuple[str, ...]:
    """Return a job as a line of the table, as COLUMNS has it."""
    error = job.get("error") or {}
    return (
        job["id"],
        standing(job),
        f"{job['progress']['value']:.0%}",
        job["created_at"][:19].replace("T", " "),
        took(job) or expected(job),
        str(len(job["outputs"])),
        error.get("code", ""),
    )


def standing(job: dict[str, Any]) -> str:
    """Return the state in words: preparing, queued (3rd in line is "queued, 3"), running, ..."""
    if job.get("phase"):
        return str(job["phase"])
    position = job.get("position")
    return f"{job['state']}, {position}" if position is not None else str(job["state"])


def expected(job: dict[str, Any]) -> str:
    """Return what the gateway estimates of a queued job, or nothing."""
    estimate = job.get("estimate") or {}
    if job["state"] != "queued":
        return ""
    told = [
        f"{word} ~{duration(estimate[name])}"
        for word, name in (("in", "wait"), ("takes", "duration"))
        if isinstance(estimate.get(name), int | float)
    ]
    return ", ".join(told)


def duration(seconds: float) -> str:
    """Return an estimated time as people say it: no more digits than it deserves."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def took(job: dict[str, Any]) -> str:
    """Return how long a job ran, or nothing while it does."""
    began, ended = job.get("started_at"), job.get("finished_at")
    if not (began and ended):
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds:.1f} s"
