"""A job that is followed, as it is shown: a bar on a terminal, lines elsewhere, or JSON."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from gateway.cli import jobs, screen
from gateway.cli.follow import JobEvent
from gateway.cli.submit import Watcher
from gateway.cli.watch import Screen, plain

_CUT = Column(no_wrap=True, overflow="ellipsis")

#: Where nobody looks at a bar, so many percent are worth a line.
_STEP_PERCENT = 10


class Lines:
    """A line for each state, and for each tenth of the way; no line twice in a row."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""
        self._step = -1

    def event(self, event: JobEvent) -> None:
        """Nothing: `show` has what is worth a line."""

    def show(self, job: dict[str, Any]) -> None:
        """Print how the job is, where that is news."""
        standing = jobs.standing(job)
        step = percent(job) // _STEP_PERCENT if job["state"] == "running" else 0
        if standing == self._last and step <= self._step:
            return
        self._last, self._step = standing, step
        told = [standing, *([f"{percent(job)}%"] if step else []), details(job)]
        self.say(" ".join(filter(None, told)))

    def say(self, line: str) -> None:
        """Print a line."""
        self._stream.write(f"{line}\n")
        # Who reads a pipe wants it now.
        self._stream.flush()

    def note(self, line: str) -> None:
        """Print a note on standard error."""
        sys.stderr.write(f"note: {line}\n")


class JsonLines(Lines):
    """The events as they came, an object a line."""

    def event(self, event: JobEvent) -> None:
        """Print an event."""
        found = {"id": event.id, "event": event.kind, "data": event.data}
        self._stream.write(orjson.dumps(found).decode() + "\n")
        self._stream.flush()

    def show(self, job: dict[str, Any]) -> None:
        """Nothing: the event was printed."""

    def say(self, line: str) -> None:
        """Nothing: the event was printed."""


class Bar:
    """One line that moves, on standard error; lines that stay go above it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def event(self, event: JobEvent) -> None:
        """Nothing: `show` has what moves it."""

    def show(self, job: dict[str, Any]) -> None:
        """Move the bar."""
        doing = job["progress"].get("class_type") if job["state"] == "running" else None
        self._progress.update(
            self._task,
            completed=percent(job),
            description=plain(doing or jobs.standing(job)),
            details=details(job),
        )

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def note(self, line: str) -> None:
        """Print a note above the bar."""
        self.say(f"note: {line}")


def percent(job: dict[str, Any]) -> int:
    """Return how far a job is."""
    return int(100 * min(1.0, max(0.0, job["progress"].get("value") or 0.0)))


def details(job: dict[str, Any]) -> str:
    """Return where a running job is, or when a queued one is expected to begin."""
    if job["state"] == "queued":
        return jobs.expected(job)
    if job["state"] != "running":
        return ""
    now = job["progress"]
    told = []
    if now.get("nodes_total"):
        told.append(f"node {min(now.get('nodes_done', 0) + 1, now['nodes_total'])}")
        told[-1] += f" of {now['nodes_total']}"
    if now.get("steps"):
        told.append(f"step {now.get('step') or 0:g} of {now['steps']:g}")
    if job.get("attempt", 1) > 1:
        told.append(f"attempt {job['attempt']}")
    return ", ".join(told)


@contextlib.contextmanager
def bar() -> Iterator[Bar]:
    """Show a bar on standard error."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40, min_width=5)),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        # The last, since a narrow terminal cuts it.
        TextColumn("{task.fields[details]}", markup=False, table_column=_CUT),
    )
    console = Console(stderr=True, markup=False)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("sending", total=100, details="")
        yield Bar(progress, task)


@contextlib.contextmanager
def watching(*, as_json: bool) -> Iterator[Screen]:
    """Show a job on standard output, or a bar where that is a terminal."""
    if as_json:
        yield JsonLines(sys.stdout)
    elif is_terminal(sys.stdout) and is_terminal(sys.stderr):
        with bar() as found:
            yield found
    else:
        yield Lines(sys.stdout)


@contextlib.contextmanager
def following() -> Iterator[Screen]:
    """Show a job on standard error: the paths of what it made go to standard output."""
    if is_terminal(sys.stderr):
        with bar() as found:
            yield found
    else:
        yield Lines(sys.stderr)


@contextlib.contextmanager
def waiting() -> Iterator[Watcher]:
    """Show a bar on standard error where that is a terminal; yield what moves it."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    with bar() as found:
        yield found.show


def is_terminal(stream: TextIO) -> bool:
    """Whether a line can be drawn over and over there."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "")


def show_end(job: dict[str, Any], *, as_json: bool) -> None:
    """Print how long a job that succeeded took, and what the gateway has to say about it."""
    if as_json:
        return
    outputs = len(job["outputs"])
    made = "1 output" if outputs == 1 else f"{outputs} outputs"
    screen.show_notes([*job["warnings"], f"{made} in {jobs.took(job)}."])
    screen.show_lines([text["text"] for text in job["texts"]])
