"""MP4, MOV, M4A and AVIF: boxes within boxes.

A film holds its texts in moov/udta/meta, named by `keys` and told by `ilst`; without `keys`, and
in `udta` itself, by four letters, of which "©cmt" is the comment. An AVIF holds EXIF as an item.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.media.containers import exif
from gateway.media.containers.source import COMMENT, Broken, Source, Texts, is_wanted, text_of

_COMMENT_LETTERS = b"\xa9cmt"
#: Where texts may be, from the outside in.
_FOLDERS = (b"moov", b"udta", b"meta")
_LONGEST_NAME = 256
_MOST_ITEMS = 1000
#: Of a `data` box: its type and language.
_DATA_HEADER = 8


@dataclass(frozen=True)
class Box:
    """A box: its name, and from where to where its content goes."""

    name: bytes
    start: int
    end: int


def film(source: Source) -> Texts:
    """Yield the texts of an MP4, MOV or M4A."""
    yield from _folder(source, Box(b"", 0, source.size), _FOLDERS)


def _folder(source: Source, folder: Box, inner: tuple[bytes, ...]) -> Texts:
    for box in _boxes(source, folder.start, folder.end):
        if box.name == b"meta":
            yield from _listed(source, box)
        elif box.name in inner:
            # Only what lies deeper: a box that names itself its own content ends at the bottom.
            yield from _folder(source, box, inner[inner.index(box.name) + 1 :])
        elif box.name == _COMMENT_LETTERS and folder.name == b"udta":
            # Two bytes of length and two of language.
            yield COMMENT, text_of(source.read(box.start, box.end - box.start)[4:])


def _boxes(source: Source, start: int, end: int) -> Iterator[Box]:
    at, end = start, min(end, source.size)
    while at + 8 <= end:
        size, name = source.unpack(">I4s", at)
        header = 8
        if size == 1:
            (size,) = source.unpack(">Q", at + 8)
            header = 16
        after = end if size == 0 else at + size
        if after < at + header:
            return
        yield Box(name, at + header, min(after, end))
        at = after


def _content(source: Source, meta: Box) -> dict[bytes, Box]:
    # QuickTime's own has no version in front.
    is_bare = source.peek(meta.start + 4, 4) == b"hdlr"
    start = meta.start if is_bare else meta.start + 4
    return {box.name: box for box in _boxes(source, start, meta.end)}


def _listed(source: Source, meta: Box) -> Texts:
    content = _content(source, meta)
    if b"ilst" not in content:
        return
    keys = _keys(source, content[b"keys"]) if b"keys" in content else {}
    for item in _boxes(source, content[b"ilst"].start, content[b"ilst"].end):
        key = keys.get(int.from_bytes(item.name, "big"))
        if item.name == _COMMENT_LETTERS:
            key = COMMENT
        if key is None or not is_wanted(key):
            continue
        for data in _boxes(source, item.start, item.end):
            if data.name == b"data":
                value = source.read(data.start, data.end - data.start)
                yield key, text_of(value[_DATA_HEADER:])


def _keys(source: Source, box: Box) -> dict[int, str]:
    """Return the names by their number, from 1 on, as items of `ilst` are called."""
    keys = {}
    for number, key in enumerate(_boxes(source, box.start + 8, box.end), 1):
        keys[number] = text_of(source.read(key.start, min(key.end - key.start, _LONGEST_NAME)))
    return keys


def avif(source: Source) -> Texts:
    """Yield the texts in the EXIF of an AVIF or HEIC."""
    for meta in _boxes(source, 0, source.size):
        if meta.name != b"meta":
            continue
        content = _content(source, meta)
        if b"iinf" in content and b"iloc" in content:
            wanted = set(_exif_items(source, content[b"iinf"]))
            for at, length in _places(source, content[b"iloc"], wanted):
                block = source.read(at, length)
                # How far the TIFF is away, behind a name or not.
                skipped = int.from_bytes(block[:4], "big")
                yield from exif.texts(block[4 + skipped :], source)


def _exif_items(source: Source, box: Box) -> Iterator[int]:
    (version,) = source.unpack(">B", box.start)
    for item in _boxes(source, box.start + (6 if version == 0 else 8), box.end):
        (version,) = source.unpack(">B", item.start)
        number, _, kind = source.unpack(">HH4s" if version < 3 else ">IH4s", item.start + 4)
        if item.name == b"infe" and version >= 2 and kind == b"Exif":
            yield number


class _Numbers:
    """Numbers of any width, one after another."""

    def __init__(self, source: Source, at: int) -> None:
        self._source = source
        self._at = at

    def next(self, width: int) -> int:
        found = int.from_bytes(self._source.read(self._at, width), "big")
        self._at += width
        return found


def _places(source: Source, box: Box, wanted: set[int]) -> Iterator[tuple[int, int]]:
    """Yield from where and how many bytes the wanted items are; raises Broken."""
    numbers = _Numbers(source, box.start)
    version = numbers.next(1)
    numbers.next(3)
    widths = numbers.next(2)
    of_offset, of_length, of_base = (widths >> 12, widths >> 8 & 15, widths >> 4 & 15)
    of_index = widths & 15 if version else 0
    wide = 2 if version < 2 else 4
    for _ in range(min(numbers.next(wide), _MOST_ITEMS)):
        number = numbers.next(wide)
        method = numbers.next(2) if version else 0
        numbers.next(2)
        base = numbers.next(of_base)
        extents = numbers.next(2)
        if extents > _MOST_ITEMS:
            raise Broken
        for _ in range(extents):
            numbers.next(of_index)
            place = base + numbers.next(of_offset), numbers.next(of_length)
            if number in wanted and method == 0 and extents == 1:
                yield place
