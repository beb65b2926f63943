"""Base64 on its way to a file: told from names, measured, and decoded piece by piece."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import pybase64

from gateway.media import sniff
from gateway.storage.partfile import PartFile

#: Characters decoded at a time: the interpreter is never held for long.
PIECE = 1 << 20
_SPACE = b" \t\r\n\f\v"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DATA_URL = re.compile(r"data:([^,]{0,300}?)(;\s*base64)?,", re.IGNORECASE)
#: Characters that tell base64 of a known type; enough for every signature.
_TASTE = 512
#: Fewer bytes than this are no media file, whatever they begin with.
_LEAST_BYTES = 16


class NotBase64(Exception):
    """The text has characters that base64 does not have."""


class TooLong(Exception):
    """The text holds more bytes than the limit."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class UnknownType(Exception):
    """The bytes are of no known type; `head` is their beginning."""

    def __init__(self, head: bytes) -> None:
        super().__init__(head[:16])
        self.head = head


@dataclass(frozen=True)
class Encoded:
    """A text that holds a file, from `start` on; `is_base64` or else percent-encoded."""

    text: str
    start: int = 0
    is_base64: bool = True

    def size_bound(self) -> int:
        """Return the most bytes that the text can hold; padding and white space count here."""
        return (len(self.text) - self.start) * (3 if self.is_base64 else 4) // 4

    def pieces(self) -> Iterator[bytes]:
        """Yield the decoded bytes; raises NotBase64."""
        if self.is_base64:
            return _decoded(self.text, self.start)
        return iter([unquote_to_bytes(self.text[self.start :])])


@dataclass(frozen=True)
class Decoded:
    """What was decoded into a part file."""

    digest: bytes
    kind: sniff.MediaType
    size: int


def data_url(value: str) -> Encoded | None:
    """Return what a data URL holds; None when it is not one."""
    found = _DATA_URL.match(value)
    return Encoded(value, found.end(), found[2] is not None) if found else None


def bare(value: str) -> Encoded | None:
    """Return what a text holds when it is base64 of a known type; None otherwise."""
    taste = "".join(value[: 2 * _TASTE].split())[:_TASTE]
    if not taste.isascii():
        return None
    whole = taste[: len(taste) // 4 * 4].encode().translate(_URL_SAFE)
    try:
        head = pybase64.b64decode(_padded(whole), validate=True)
    except (binascii.Error, ValueError):
        return None
    is_media = len(head) >= _LEAST_BYTES and sniff.kind_of(head) is not None
    return Encoded(value) if is_media else None


def decode(encoded: Encoded, part: PartFile, limit_bytes: int, salt: bytes) -> Decoded:
    """Decode into `part`; raises NotBase64, TooLong, UnknownType, and OSError of the disk.

    Blocks: it belongs in a thread. The digest is salted.
    """
    _check_size(encoded, limit_bytes)
    hashed = hashlib.sha256(salt)
    kind: sniff.MediaType | None = None
    for piece in encoded.pieces():
        if kind is None:
            kind = sniff.kind_of(piece[: sniff.HEAD_BYTES])
            if kind is None:
                raise UnknownType(piece[: sniff.HEAD_BYTES])
        hashed.update(piece)
        part.write(piece)
        if part.size > limit_bytes:
            raise TooLong(part.size)
    if kind is None:
        raise UnknownType(b"")
    return Decoded(hashed.digest(), kind, part.size)


def _check_size(encoded: Encoded, limit_bytes: int) -> None:
    if encoded.size_bound() <= limit_bytes:
        return
    text = encoded.text
    idle = sum(text.count(character, encoded.start) for character in (*_SPACE.decode(), "="))
    size = (len(text) - encoded.start - idle) * 3 // 4
    if encoded.is_base64 and size > limit_bytes:
        raise TooLong(size)


def _decoded(text: str, start: int) -> Iterator[bytes]:
    left = b""
    for at in range(start, len(text), PIECE):
        try:
            piece = text[at : at + PIECE].encode("ascii")
        except UnicodeEncodeError as failure:
            raise NotBase64 from failure
        left += piece.translate(_URL_SAFE, _SPACE)
        whole = len(left) // 4 * 4
        if at + PIECE < len(text):
            # Padding belongs to the end alone; a quad that may be the last one waits.
            whole = max(0, whole - 4)
        if whole:
            yield _strict(left[:whole])
            left = left[whole:]
    if left:
        yield _strict(_padded(left))


def _padded(quads: bytes) -> bytes:
    bare_quads = quads.rstrip(b"=")
    return bare_quads + b"=" * (-len(bare_quads) % 4)


def _strict(quads: bytes) -> bytes:
    try:
        return pybase64.b64decode(quads, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise NotBase64 from failure
