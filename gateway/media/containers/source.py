"""A file that anyone may have sent, read by pieces and never more than is allowed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

#: A name of a text and the text: what every reader of this room yields.
Texts = Iterator[tuple[str, str]]

#: What a workflow is called wherever ComfyUI puts one.
KEYS = ("prompt", "workflow")
#: Where savers put both as one JSON: {prompt, workflow}.
COMMENT = "comment"

#: Pieces looked at; a PNG of a gigabyte has some 130,000, most files fewer than a hundred.
_MOST_STEPS = 200_000
#: What is packed may claim a thousand times its size.
_MOST_UNPACKED_BYTES = 8 << 20


class Broken(Exception):
    """The bytes are not what they claim to be, or claim too much."""


class Source:
    """Bytes by their place; what is asked for beyond the end or the limit is Broken."""

    def __init__(self, file: BinaryIO, size: int, limit: int) -> None:
        self.size = size
        #: Bytes that may still be read or unpacked.
        self.left = limit
        self._file = file
        self._steps = _MOST_STEPS

    def step(self) -> None:
        """Count one piece more: sizes that lie must not keep a reader going; raises Broken."""
        self._steps -= 1
        if self._steps < 0:
            raise Broken

    def spend(self, count: int) -> None:
        """Take so many bytes off what is left; raises Broken."""
        self.left -= count
        if self.left < 0:
            raise Broken

    def read(self, at: int, count: int) -> bytes:
        """Return the bytes there; raises Broken, OSError."""
        if at < 0 or count < 0 or at + count > self.size:
            raise Broken
        self.step()
        self.spend(count)
        self._file.seek(at)
        found = self._file.read(count)
        if len(found) != count:
            raise Broken
        return found

    def peek(self, at: int, count: int) -> bytes:
        """Return as many of the bytes there as exist; raises Broken, OSError."""
        return self.read(at, max(0, min(count, self.size - at)))

    def inflated(self, data: bytes) -> bytes:
        """Return what zlib packed; raises Broken, zlib.error."""
        unpacking = zlib.decompressobj()
        found = unpacking.decompress(data, _MOST_UNPACKED_BYTES)
        self.spend(len(found))
        if not unpacking.eof:
            raise Broken
        return found

    def unpack(self, form: str, at: int) -> tuple[Any, ...]:
        """Return the numbers there; raises Broken, OSError."""
        return struct.unpack(form, self.read(at, struct.calcsize(form)))


def is_wanted(key: str) -> bool:
    """Whether a text of this name may be, or hold, a workflow."""
    return key.lower() in (*KEYS, COMMENT)


def text_of(data: bytes) -> str:
    """Return what the bytes say: UTF-8, or else Latin-1; what follows a NUL is padding."""
    data = data.partition(b"\0")[0]
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
