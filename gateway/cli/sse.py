"""Server-Sent Events out of the bytes of a response, however these are cut."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Longest event: a preview of 4096x4096 in base64 is below it; no line may fill the memory.
MOST_BYTES = 32 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event has no end within the bytes that one may have."""


@dataclass(frozen=True)
class Event:
    """One event; `id` is the newest that the stream has named, also before this event."""

    kind: str
    data: str
    id: str | None = None


class Parser:
    """Takes chunks cut anywhere, in a line end or in a letter too, and gives whole events."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """`most_bytes` is how long an event may be."""
        self._most = most_bytes
        self._pending = bytearray()
        self._searched = 0
        self._is_start = True
        self._data: list[bytes] = []
        self._size = 0
        self._kind = ""
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that the chunk completes; raises EventTooLong."""
        self._pending += chunk
        events = []
        for line in self._lines():
            if line:
                self._take(line)
            elif (event := self._event()) is not None:
                events.append(event)
        if len(self._pending) + self._size > self._most:
            raise EventTooLong(f"An event is longer than {self._most} bytes.")
        return events

    def _lines(self) -> list[bytes]:
        if self._is_start and len(self._pending) >= len(_BOM):
            self._is_start = False
            if self._pending.startswith(_BOM):
                del self._pending[: len(_BOM)]
        if self._is_start and _BOM.startswith(self._pending):
            return []
        lines, begin = [], 0
        for found in _LINE_END.finditer(self._pending, self._searched):
            if found[0] == b"\r" and found.end() == len(self._pending):
                # The next chunk may begin with the \n that belongs to it.
                break
            lines.append(bytes(self._pending[begin : found.start()]))
            begin = found.end()
        del self._pending[:begin]
        self._searched = max(0, len(self._pending) - 1)
        return lines

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self._most:
                raise EventTooLong(f"An event is longer than {self._most} bytes.")
        elif name == b"event":
            self._kind = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")

    def _event(self) -> Event | None:
        data, kind = self._data, self._kind
        self._data, self._size, self._kind = [], 0, ""
        if not data:
            return None
        return Event(kind or "message", b"\n".join(data).decode(errors="replace"), self._id)
