"""The live events of jobs: one bus in memory, told by who runs them, read by any number."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import pybase64

from gateway import metrics
from gateway.jobs.answer import public_output
from gateway.jobs.channel import Channel, Kind, Reader
from gateway.jobs.estimate import Place
from gateway.jobs.job import Change, Job, State
from gateway.jobs.pace import Pace

#: Seconds between two of a job's events of a kind.
PROGRESS_EVERY_S = 0.2
PREVIEW_EVERY_S = 0.5
#: Seconds for which the events of a job that is over can be had again, and of how many such jobs.
KEPT_S = 60.0
KEPT_JOBS = 64
#: Seconds between two looks at the positions of queued jobs that are watched, and how many a look
#: takes in.
_LOOK_EVERY_S = 1.0
_LOOK_AT = 1000


class Queue(Protocol):
    """Where the positions of queued jobs are known."""

    async def places(self, jobs: Sequence[Job]) -> dict[str, Place]:
        """Return where those that are queued stand, by id."""
        ...


class Events:
    """One for the gateway. A job that nobody watches and that tells nothing costs nothing."""

    def __init__(self) -> None:
        # Above the ids of an earlier run: readers come back with those.
        self._last_id = int(time.time() * 1_000_000)
        self._channels: dict[str, _Paced] = {}
        #: Jobs that are over, oldest first, and when their events go.
        self._over: dict[str, float] = {}
        #: Queued jobs that are watched; who was looked at last is at the end.
        self._queued: dict[str, Job] = {}
        self._is_stirred = False
        self._readers: dict[Reader, str] = {}
        #: Jobs whose readers may stay; None while all may.
        self._kept: Collection[str] | None = None

    # Told

    def publish(
        self, job_id: str, kind: Kind, data: dict[str, Any], *, key: Hashable = None
    ) -> None:
        """Tell of a job; the newest output under a key replaces the older."""
        channel = self._opened(job_id)
        if channel.is_over:
            return
        if kind == "progress":
            channel.progress.offer(data)
        else:
            self._add(channel, kind, data, key)

    def publish_preview(
        self, job_id: str, node_id: str | None, content_type: str, raw: bytes
    ) -> None:
        """Tell what a job's picture looks like so far; see `wants_previews`."""
        channel = self._opened(job_id)
        if not channel.is_over:
            channel.preview.offer((node_id, content_type, raw))

    def publish_output(self, job_id: str, entry: dict[str, Any], *, key: Hashable) -> None:
        """Tell of a file; without an index in its entry, its place is not known yet."""
        channel = self._opened(job_id)
        if "index" in entry:
            channel.files[entry["index"]] = entry
        self.publish(job_id, "output", public_output(job_id, entry), key=key)

    def wants_previews(self, job_id: str) -> bool:
        """Whether a reader asked for the previews of a job."""
        channel = self._channels.get(job_id)
        return channel is not None and channel.wants_previews

    def outputs(self, job_id: str) -> list[dict[str, Any]]:
        """Return the outputs of a job that are known while it runs, as the runner knows them."""
        channel = self._channels.get(job_id)
        return [] if channel is None else [found for _, found in sorted(channel.files.items())]

    def changed(self, job: Job, position: int | None = None) -> None:
        """Tell how a job stands."""
        channel = self._channels.get(job.id)
        if channel is None or self._is_over(channel, job):
            return
        if job.state is State.QUEUED and channel.readers:
            self._queued[job.id] = job
        else:
            self._queued.pop(job.id, None)
        if job.state.is_terminal or job.state is State.DELIVERING:
            channel.progress.flush()
            self._complete(channel, job)
        data: dict[str, Any] = {"state": job.state.value, "attempt": job.attempt}
        before = channel.state or {}
        if position is not None:
            data["position"] = position
        elif all(before.get(name) == value for name, value in data.items()):
            return
        if data != before:
            self._add(channel, "state", data, (job.state, job.attempt))
        if channel.is_over:
            self._end_of(job.id, channel)

    def _is_over(self, channel: _Paced, job: Job) -> bool:
        if channel.is_over and channel.job_created_at < job.created_at:
            # That one was deleted, and its name is used again.
            self._over.pop(job.id, None)
            channel.begin(self._last_id)
        channel.job_created_at = job.created_at
        return channel.is_over

    def _complete(self, channel: _Paced, job: Job) -> None:
        """Nodes that had nothing to do tell of no progress: what has run is done."""
        if job.state in (State.DELIVERING, State.SUCCEEDED) and channel.value < 1:
            total = len(job.graph)
            done = {"value": 1.0, "nodes_done": total, "nodes_total": total}
            self._add(channel, "progress", done)

    def _end_of(self, job_id: str, channel: _Paced) -> None:
        channel.preview.drop()
        channel.files.clear()
        self._over[job_id] = time.monotonic() + KEPT_S
        if len(self._over) > KEPT_JOBS:
            self._forget(next(iter(self._over)))

    def _forget(self, job_id: str) -> None:
        del self._over[job_id]
        self._channels.pop(job_id, None)

    def _opened(self, job_id: str) -> _Paced:
        channel = self._channels.get(job_id)
        if channel is None:
            channel = self._channels[job_id] = _Paced(self._last_id, self._add)
        return channel

    def _add(self, channel: _Paced, kind: Kind, data: dict[str, Any], key: Hashable = None) -> None:
        self._last_id += 1
        channel.add(self._last_id, kind, data, key)
        # Whatever comes in this turn of the loop goes out together.
        if channel.readers and not channel.is_waking:
            channel.is_waking = True
            asyncio.get_running_loop().call_soon(channel.wake)

    # Read

    @contextlib.contextmanager
    def reading(
        self, job_id: str, last_id: int | None, *, previews: bool, on_news: Callable[[], None]
    ) -> Iterator[Reader]:
        """Read a job's events; `last_id` is what the reader heard last, when it comes back.

        It hears nothing before `seed` was called for the job.
        """
        channel = self._opened(job_id)
        reader = Reader(channel, last_id, previews=previews, on_news=on_news)
        channel.readers.add(reader)
        self._readers[reader] = job_id
        metrics.sse_readers.inc()
        try:
            yield reader
        finally:
            metrics.sse_readers.dec()
            channel.readers.discard(reader)
            del self._readers[reader]
            if not channel.readers:
                self._unwatched(job_id, channel)

    def _unwatched(self, job_id: str, channel: _Paced) -> None:
        self._queued.pop(job_id, None)
        if channel.is_fresh and self._channels.get(job_id) is channel:
            del self._channels[job_id]

    def seed(self, job: Job, position: int | None) -> None:
        """Say how a job that a reader has come to stands, unless that was told already."""
        channel = self._opened(job.id)
        self._is_over(channel, job)
        if channel.state is None:
            for entry in [] if channel.has_outputs else job.result.get("outputs", []):
                self.publish_output(job.id, entry, key=entry["index"])
            self.changed(job, position)
        elif job.state is State.QUEUED and channel.state["state"] == State.QUEUED:
            self._queued[job.id] = job
        if self._kept is not None:
            self.end(keep=self._kept)

    # The loops

    async def follow(self, changes: AsyncIterator[Change]) -> None:
        """Take what the store says; runs as long as the gateway."""
        async for change in changes:
            self._is_stirred = True
            self.changed(change.job)

    async def look(self, queue: Queue) -> None:
        """Look now and then at the positions of the queued jobs that are watched, and tidy up."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
            for job_id in [job_id for job_id, until in self._over.items() if until <= now]:
                self._forget(job_id)
            if self._is_stirred and self._queued:
                self._is_stirred = await self._looked(queue)

    async def _looked(self, queue: Queue) -> bool:
        """Tell positions; return whether some are left for the next time."""
        self._is_stirred = False
        jobs = list(itertools.islice(self._queued.values(), _LOOK_AT))
        places = await queue.places(jobs)
        for job in jobs:
            # It may have changed, or be watched no more, since the store was asked.
            if job.id in places and self._queued.get(job.id) is job:
                del self._queued[job.id]
                self.changed(job, places[job.id].position)
        return self._is_stirred or len(self._queued) > len(jobs)

    def end(self, *, keep: Collection[str]) -> None:
        """End the streams of all jobs but these, and those that come later too."""
        self._kept = keep
        for reader, job_id in list(self._readers.items()):
            if job_id not in keep:
                reader.dismiss()


class _Paced(Channel):
    """A channel whose progress and previews come no faster than they may."""

    def __init__(self, first_id: int, add: Callable[..., None]) -> None:
        super().__init__(first_id)
        self.is_waking = False
        #: Which of the jobs that bore the name it is of.
        self.job_created_at = 0.0
        self._tell = partial(add, self)
        self.progress = Pace(self._tell_progress, PROGRESS_EVERY_S)
        self.preview = Pace(self._tell_preview, PREVIEW_EVERY_S)

    def wake(self) -> None:
        """Tell every reader that there is news."""
        self.is_waking = False
        for reader in list(self.readers):
            reader.on_news()

    def _tell_progress(self, data: dict[str, Any]) -> None:
        # ComfyUI begins anew at a second attempt; what was told is not taken back.
        self._tell("progress", {**data, "value": max(self.value, data["value"])})

    def _tell_preview(self, found: tuple[str | None, str, bytes]) -> None:
        node_id, content_type, raw = found
        encoded = pybase64.b64encode_as_string(raw)
        data = {"node_id": node_id, "content_type": content_type, "data_base64": encoded}
        self._tell("preview", data)
