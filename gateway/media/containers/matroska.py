"""WebM and MKV: elements within elements, the texts under Segment, Tags, Tag, SimpleTag."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.media.containers.source import Source, Texts, is_wanted, text_of

_SEGMENT, _TAGS, _TAG, _SIMPLE_TAG = 0x18538067, 0x1254C367, 0x7373, 0x67C8
_NAME, _TEXT = 0x45A3, 0x4487
_INNER = {_SEGMENT: _TAGS, _TAGS: _TAG, _TAG: _SIMPLE_TAG}
_LONGEST_NAME = 256
#: What has no end of its own may be any of these; the content is then looked through as well.
_CLUSTER = 0x1F43B675


def tags(source: Source) -> Texts:
    """Yield the texts of a WebM or MKV."""
    yield from _within(source, _SEGMENT, 0, source.size)


def _within(source: Source, wanted: int, start: int, end: int) -> Texts:
    for name, at, after in _elements(source, start, end):
        if name != wanted:
            continue
        if name == _SIMPLE_TAG:
            yield from _simple(source, at, after)
        else:
            yield from _within(source, _INNER[name], at, after)


def _simple(source: Source, start: int, end: int) -> Texts:
    places = {name: (at, after) for name, at, after in _elements(source, start, end)}
    if _NAME not in places or _TEXT not in places:
        return
    at, after = places[_NAME]
    key = text_of(source.read(at, min(after - at, _LONGEST_NAME)))
    if is_wanted(key):
        at, after = places[_TEXT]
        yield key, text_of(source.read(at, after - at))


def _elements(source: Source, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield each element: its id, where its content begins, and where it ends."""
    at, end = start, min(end, source.size)
    while at < end:
        head = source.peek(at, 12)
        id_width = _width(head[0])
        size_width = _width(head[id_width]) if id_width < len(head) else 0
        if not id_width or not size_width or id_width > 4:
            return
        name = int.from_bytes(head[:id_width], "big")
        coded = int.from_bytes(head[id_width : id_width + size_width], "big")
        ones = (1 << 7 * size_width) - 1
        at += id_width + size_width
        size = coded & ones
        # A size of all ones is not known: the element goes to the end, or its content follows.
        after = end if size == ones else at + size
        yield name, at, min(after, end)
        at = at if size == ones and name == _CLUSTER else after


def _width(first: int) -> int:
    """Return how many bytes a number takes, by its first; 0 for none."""
    return 9 - first.bit_length() if first else 0
