"""Tells of a run while it lasts: its record, whoever reads its events, the operator's address."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from gateway import errors, graph
from gateway.comfy.events import Frame, Preview, renamed
from gateway.comfy.observer import FileRef, Observer, Progress
from gateway.jobs.events import Events
from gateway.jobs.job import Job
from gateway.setting_values import COMFY_EVENTS
from gateway.storage import address
from gateway.webhooks.system import Notifier

#: Before a file is looked at on its own: most jobs are over sooner.
_SOON_S = 0.05
#: Lines of a run in a second, on average and at once, and characters of each.
_LINES_A_SECOND = 10.0
_LINES_AT_ONCE = 100
_LINE_LENGTH = 1000
_URLS_TOLD = 20
#: Larger pictures are not sent as previews, bytes.
_PREVIEW_MOST = 1024 * 1024

_ERROR = re.compile(r"(error|exception|critical|fatal|traceback)\b|!!!", re.IGNORECASE)
_WARNING = re.compile(r"warn(ing)?\b", re.IGNORECASE)

#: An index, or None while it is not known, and a file -> what callers are told of it.
Describe = Callable[[int | None, FileRef], dict[str, Any]]


class Narration:
    """Who is told of every job."""

    def __init__(self, events: Events, system: Notifier) -> None:
        self._events = events
        self._system = system

    def of(self, job: Job, tell: Callable[[dict[str, Any]], None], describe: Describe) -> Narrator:
        """Return who tells of one run; `tell` keeps {progress, started_at} for its record."""
        return Narrator(job.id, tell, describe, self._events, self._system)

    def note(self, job_id: str, sentence: str, level: str = "info") -> None:
        """Tell a reader of a job's events something of our own; it names no secret."""
        self._events.publish(job_id, "log", {"level": level, "message": sentence[:_LINE_LENGTH]})

    def fetching(self, job: Job) -> None:
        """Tell what a job's turn waits for."""
        for url in _urls(job)[:_URLS_TOLD]:
            self.note(job.id, f"Fetching {address.shown(url)}.")

    def on_status(self, frame: Frame) -> None:
        """Take a frame that is of no job."""
        if frame.type == "status" and self._system.wants("status"):
            self._system.notify("status", frame.whole)


class Narrator(Observer):
    """Tells of one run."""

    def __init__(
        self,
        job_id: str,
        tell: Callable[[dict[str, Any]], None],
        describe: Describe,
        events: Events,
        system: Notifier,
    ) -> None:
        self._job_id = job_id
        self._tell = tell
        self._events = events
        self._system = system
        self._started_at: float | None = None
        self._value = 0.0
        self._runs = 0
        self._is_closed = False
        self._lines = Throttle(_LINES_A_SECOND, _LINES_AT_ONCE)
        self._outputs = _Outputs(job_id, describe, events)

    @property
    def wants_previews(self) -> bool:
        """See `Observer`."""
        return not self._is_closed and self._events.wants_previews(self._job_id)

    def on_run(self) -> None:
        """See `Observer`."""
        self._runs += 1
        if self._runs > 1:
            self._line("warning", "The job is run once more.")

    def on_frame(self, frame: Frame) -> None:
        """See `Observer`."""
        # What was read from the history has been told, or is late: the record has it.
        if frame.whole and frame.type in COMFY_EVENTS and self._system.wants(frame.type):
            self._system.notify(frame.type, renamed(frame, self._job_id), self._job_id)

    def on_progress(self, progress: Progress) -> None:
        """See `Observer`."""
        if self._is_closed:
            return
        if self._started_at is None:
            self._started_at = time.time()
        # A run that is tried again begins at 0, and what callers see never goes back.
        self._value = max(self._value, progress.value)
        known = {**vars(progress), "value": self._value}
        shown = {key: value for key, value in known.items() if value is not None}
        self._tell({"progress": shown, "started_at": self._started_at})
        self._events.publish(self._job_id, "progress", shown)

    def on_files(self, files: list[FileRef], settled: int) -> None:
        """See `Observer`."""
        if not self._is_closed:
            self._outputs.reported(files, settled)

    def on_preview(self, preview: Preview) -> None:
        """See `Observer`."""
        if len(preview.data) <= _PREVIEW_MOST:
            self._events.publish_preview(
                self._job_id, preview.node_id, preview.content_type, preview.data
            )

    def on_line(self, line: str) -> None:
        """See `Observer`."""
        left_out = None if self._is_closed else self._lines.passes(time.monotonic())
        if left_out is None:
            return
        if left_out:
            self._line("info", f"({left_out} lines were left out.)")
        self._line(level_of(line), line[:_LINE_LENGTH])

    def _line(self, level: str, message: str) -> None:
        self._events.publish(self._job_id, "log", {"level": level, "message": message})

    def collected(self, files: Sequence[FileRef], entries: list[dict[str, Any]]) -> None:
        """Tell of the outputs as they lie in ComfyUI's folders."""
        self._outputs.collected(files, entries)

    def delivered(self, entries: list[dict[str, Any]]) -> None:
        """Tell of the outputs as their caller gets them, where that is something else."""
        self._outputs.delivered(entries)

    def close(self) -> None:
        """Tell no more but frames: an abandoned prompt may go on for a while."""
        self._is_closed = True
        self._outputs.close()


class _Outputs:
    """Tells of a run's files: as soon as they exist, and again when they become something else."""

    def __init__(self, job_id: str, describe: Describe, events: Events) -> None:
        self._job_id = job_id
        self._describe = describe
        self._events = events
        self._files: list[FileRef] = []
        self._settled = 0
        self._keys: Sequence[Hashable] | None = None
        #: The index under which a file was looked at, and what was told then.
        self._looked_at: dict[FileRef, int | None] = {}
        self._told: dict[Hashable, dict[str, Any]] = {}
        self._looking: asyncio.Task[None] | None = None

    def reported(self, files: list[FileRef], settled: int) -> None:
        """Take note of files; they are described beside the run."""
        self._files, self._settled = files, settled
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        await asyncio.sleep(_SOON_S)
        while untold := self._untold():
            index, ref = untold[0]
            self._looked_at[ref] = index
            # What is missing now is told, or fails the job, when the run is over.
            with contextlib.suppress(errors.OutputMissing, OSError):
                self._publish(ref, await asyncio.to_thread(self._describe, index, ref))

    def _untold(self) -> list[tuple[int | None, FileRef]]:
        known = [
            (index if index < self._settled else None, ref) for index, ref in enumerate(self._files)
        ]
        return [(i, ref) for i, ref in known if self._looked_at.get(ref, -1) != i]

    def collected(self, files: Sequence[FileRef], entries: list[dict[str, Any]]) -> None:
        """Take over what the run was found to have made."""
        self.close()
        self._keys = files
        self.delivered(entries)

    def delivered(self, entries: list[dict[str, Any]]) -> None:
        """Take over what callers get."""
        keys = self._keys or [entry["index"] for entry in entries]
        for key, entry in zip(keys, entries, strict=True):
            self._publish(key, entry)

    def _publish(self, key: Hashable, entry: dict[str, Any]) -> None:
        # What stands beside a file makes it no other file.
        shown = {name: value for name, value in entry.items() if name != "sidecar"}
        if self._told.get(key) != shown:
            self._told[key] = shown
            self._events.publish_output(self._job_id, entry, key=key)

    def close(self) -> None:
        """Describe no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None


class Throttle:
    """Lets lines pass at a rate; counts those that do not."""

    def __init__(self, a_second: float, at_once: int) -> None:
        self._a_second = a_second
        self._most = float(at_once)
        self._room = self._most
        self._seen_at = 0.0
        self._left_out = 0

    def passes(self, now: float) -> int | None:
        """Return how many were left out before this one; None when it is left out too."""
        self._room = min(self._most, self._room + (now - self._seen_at) * self._a_second)
        self._seen_at = now
        if self._room < 1:
            self._left_out += 1
            return None
        self._room -= 1
        left_out, self._left_out = self._left_out, 0
        return left_out


def _urls(job: Job) -> list[str]:
    """Return the URLs of weights and inputs that a job names, each once."""
    urls = [one["url"] for one in job.models]
    urls += [ref.value for ref in graph.media_refs(job.graph) if graph.is_url(ref.value)]
    for _, entries in graph.directory_lists(job.graph):
        urls += [entry for entry in entries if graph.is_url(entry)]
    return list(dict.fromkeys(urls))


def level_of(line: str) -> str:
    """Return how serious a line of ComfyUI's log calls itself."""
    if _ERROR.search(line):
        return "error"
    return "warning" if _WARNING.search(line) else "info"
