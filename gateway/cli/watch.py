"""`gateway jobs watch`: what the events of a job make of what is known of it."""

from __future__ import annotations

import binascii
import contextlib
import re
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pybase64

from gateway.cli import jobs, saving
from gateway.cli.client import Client, node_hint
from gateway.cli.failure import CommandFailed
from gateway.cli.follow import Following, JobEvent, events, insisted

#: Escape sequences and control characters: a log line of a custom node does not move our cursor.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Screen(Protocol):
    """What shows a job that is followed."""

    def event(self, event: JobEvent) -> None:
        """Take an event as it came."""

    def show(self, job: dict[str, Any]) -> None:
        """Show how the job is now."""

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def note(self, line: str) -> None:
        """Tell what is about the watching, and not about the job."""


@dataclass(frozen=True)
class Wishes:
    """What is wanted beside the state: log lines, outputs as they come, the newest preview."""

    logs: bool = False
    outputs: bool = True
    preview: Path | None = None


class Watch:
    """Follows one job on a screen."""

    def __init__(self, client: Client, screen: Screen, wishes: Wishes) -> None:
        """`screen` hears everything while `run` runs."""
        self._client = client
        self._screen = screen
        self._wishes = wishes
        self._told: set[str] = set()

    async def run(self, job_id: str, *, is_known: bool = False) -> dict[str, Any]:
        """Return the job's record when it is over; `is_known`: it was accepted a moment ago."""
        following = Following(job_id, self._wishes.preview is not None, is_known, self._lost)
        job: dict[str, Any] = {"id": job_id, "progress": {"value": 0.0}}
        async with aclosing(events(self._client, following)) as stream:
            async for event in stream:
                self._screen.event(event)
                job = await self._estimated(advanced(job, event), event)
                await self._show(job, event)
        record = await insisted(lambda: jobs.shown(self._client, job_id), self._lost)
        for output in record["outputs"]:
            self._output(output)
        return record

    async def _estimated(self, job: dict[str, Any], event: JobEvent) -> dict[str, Any]:
        """Return what is known, and when a job that waits is expected to begin."""
        if event.kind != "state" or job["state"] != "queued":
            return job
        # Its record has what the events leave out; who cannot have it now goes without.
        with contextlib.suppress(CommandFailed):
            record = await jobs.shown(self._client, job["id"])
            return {**job, "estimate": record.get("estimate")}
        return job

    async def _show(self, job: dict[str, Any], event: JobEvent) -> None:
        if event.kind in ("state", "progress"):
            # Of a job that is over, how far it came may be told before what it is.
            if "state" in job:
                self._screen.show(job)
        elif event.kind == "output":
            self._output(event.data)
        elif event.kind == "log" and self._wishes.logs:
            self._screen.say(plain(str(event.data.get("message", ""))))
        elif event.kind == "preview" and self._wishes.preview is not None:
            await _save_preview(self._wishes.preview, event.data)

    def _output(self, output: dict[str, Any]) -> None:
        """Tell of an output once: it is told again when its place is known, and at the end."""
        url = output.get("url")
        if self._wishes.outputs and url and url not in self._told:
            self._told.add(url)
            self._screen.say(f"{self._client.url}{url}")

    def _lost(self) -> None:
        self._screen.note(f"The connection to {self._client.url} broke; trying again.")


def advanced(job: dict[str, Any], event: JobEvent) -> dict[str, Any]:
    """Return what is known of a job after an event."""
    if event.kind == "progress":
        return {**job, "progress": {**event.data, "value": event.data.get("value") or 0.0}}
    if event.kind != "state":
        return job
    # A position that is not told any more is no position any more.
    kept = {name: job[name] for name in ("id", "progress")}
    return {**kept, "state": "queued", **event.data, "id": job["id"]}


def failure(record: dict[str, Any]) -> CommandFailed | None:
    """Return how a command tells that a job did not succeed, or None when it did."""
    if record["state"] == "succeeded":
        return None
    error = record.get("error") or {}
    told = error.get("message") or f"The job is {record['state']}."
    nodes = error.get("node_errors") or record.get("node_errors")
    return CommandFailed(told, hint=error.get("hint") or node_hint(nodes))


def plain(line: str) -> str:
    """Return a line as a terminal may show it; what a progress bar wrote over itself is gone."""
    return _CONTROL.sub("", line.rstrip("\r\n").rpartition("\r")[2])


async def _save_preview(file: Path, data: dict[str, Any]) -> None:
    with contextlib.suppress(binascii.Error, KeyError, TypeError, ValueError):
        picture = pybase64.b64decode(data["data_base64"], validate=True)
        await saving.write(file, saving.once(picture))
