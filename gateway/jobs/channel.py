"""What readers of one job's events are told: a bounded buffer, read by a cursor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from functools import cached_property
from typing import Any, Literal

import orjson

from gateway.jobs.job import State

Kind = Literal["state", "progress", "preview", "output", "log"]

#: Events that a slow reader may lose when more have come since.
PROGRESS_KEPT = 64
LOGS_KEPT = 100


class Event:
    """One event; it is written out when the first reader wants it, and once for all of them."""

    def __init__(self, number: int, kind: Kind, data: dict[str, Any]) -> None:
        self.number = number
        self.kind = kind
        self.data = data

    @cached_property
    def raw(self) -> bytes:
        """The event as it goes out."""
        return self.under(self.number)

    def under(self, number: int) -> bytes:
        """Return the event as it goes out under another id."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (
            number,
            self.kind.encode(),
            orjson.dumps(self.data),
        )


class Reader:
    """One who reads a job's events; `on_news` is called when there is something to take."""

    def __init__(
        self, channel: Channel, last_id: int | None, *, previews: bool, on_news: Callable[[], None]
    ) -> None:
        self.channel = channel
        self.previews = previews
        self.on_news = on_news
        #: The newest event that was taken; None when it has yet to hear how things stand.
        self.cursor = last_id if last_id is not None and channel.has_heard(last_id) else None
        #: The stream ends before the job does.
        self.is_dismissed = False

    def take(self) -> bytes:
        """Return all that is new to this reader; empty when nothing is."""
        raw = self.channel.since(self.cursor, previews=self.previews)
        if raw or self.cursor is not None:
            self.cursor = self.channel.last_id
        return raw

    def dismiss(self) -> None:
        """End the stream before the job's end."""
        self.is_dismissed = True
        self.on_news()

    @property
    def is_told(self) -> bool:
        """Whether the job is over, and this reader has taken all of it."""
        return self.channel.is_over and self.cursor == self.channel.last_id

    @property
    def is_over(self) -> bool:
        """Whether the stream is to end."""
        return self.is_dismissed or self.is_told


class Channel:
    """One job's events: states and outputs are kept, of the others the newest."""

    def __init__(self, first_id: int) -> None:
        """Ids of its events are above `first_id`."""
        self.readers: set[Reader] = set()
        self.begin(first_id)

    def begin(self, first_id: int) -> None:
        """Forget all that was told: the name is another job's now."""
        self.first_id = self.last_id = first_id
        self.state: dict[str, Any] | None = None
        #: The highest progress that was told.
        self.value = 0.0
        #: Outputs whose index is known while the job runs, with their paths.
        self.files: dict[int, dict[str, Any]] = {}
        self._kept: dict[tuple[Kind, Hashable], Event] = {}
        self._progress: deque[Event] = deque(maxlen=PROGRESS_KEPT)
        self._logs: deque[Event] = deque(maxlen=LOGS_KEPT)
        self._preview: deque[Event] = deque(maxlen=1)
        self._written: dict[tuple[int | None, bool], bytes] = {}

    @property
    def is_over(self) -> bool:
        """Whether the job's terminal state was told."""
        return self.state is not None and State(self.state["state"]).is_terminal

    @property
    def has_outputs(self) -> bool:
        """Whether an output was told."""
        return any(kind == "output" for kind, _ in self._kept)

    @property
    def is_fresh(self) -> bool:
        """Whether it holds nothing that the store does not know."""
        return not (self.is_over or self._progress or self._logs or self.has_outputs)

    @property
    def wants_previews(self) -> bool:
        """Whether a reader asked for them."""
        return any(reader.previews for reader in self.readers)

    def has_heard(self, last_id: int) -> bool:
        """Whether someone who heard this id can go on from there."""
        return self.first_id < last_id <= self.last_id

    def add(self, number: int, kind: Kind, data: dict[str, Any], key: Hashable = None) -> None:
        """Add an event; of states and outputs, the newest under a key replaces the older."""
        event = Event(number, kind, data)
        self.last_id = number
        self._written.clear()
        if kind == "progress":
            self.value = data["value"]
            self._progress.append(event)
        elif kind == "log":
            self._logs.append(event)
        elif kind == "preview":
            self._preview.append(event)
        else:
            # At the end also when it replaces one: the dictionary is in the order of ids.
            self._kept.pop((kind, key), None)
            self._kept[kind, key] = event
        if kind == "state":
            self.state = data
            if self.is_over:
                # They are large, and of no use any more.
                self._preview.clear()

    def since(self, cursor: int | None, *, previews: bool) -> bytes:
        """Return what came after an event, or how things stand; made once for all who ask."""
        found = self._written.get((cursor, previews))
        if found is None:
            found = self._standing() if cursor is None else self._after(cursor, previews)
            self._written[cursor, previews] = found
        return found

    def _after(self, cursor: int, previews: bool) -> bytes:
        if cursor >= self.last_id:
            return b""
        rows: list[Iterable[Event]] = [reversed(self._kept.values())]
        rows += [reversed(row) for row in (self._progress, self._logs)]
        rows += [self._preview] if previews else []
        found = [event for row in rows for event in _newer(row, cursor)]
        return b"".join(event.raw for event in sorted(found, key=lambda event: event.number))

    def _standing(self) -> bytes:
        """Return how the job stands: its state, outputs and progress, then live ones follow."""
        if self.state is None:
            return b""
        states = [event for event in self._kept.values() if event.kind == "state"]
        others = [event for event in self._kept.values() if event.kind == "output"]
        others += list(self._progress)[-1:]
        others.sort(key=lambda event: event.number)
        state = states[-1]
        if self.is_over or not others:
            return b"".join(event.raw for event in [*others, state])
        # The state comes first, and its id may be the highest: who is cut off after it would
        # never hear of the others.
        first = state.under(min(state.number, others[0].number - 1))
        return first + b"".join(event.raw for event in others)


def _newer(row: Iterable[Event], cursor: int) -> Iterable[Event]:
    """Yield the events of a row, newest first, that came after another."""
    for event in row:
        if event.number <= cursor:
            return
        yield event
