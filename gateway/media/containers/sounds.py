"""FLAC, Ogg and MP3: comments of Vorbis, and tags of ID3."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.media.containers.source import COMMENT, Broken, Source, Texts, is_wanted, text_of

_COMMENTS = 4
#: How the packet of comments begins: in Opus, Vorbis, Theora.
_PACKETS = (b"OpusTags", b"\x03vorbis", b"\x81theora")
#: A page of Ogg that ends no packet; and one with headers alone.
_UNENDED, _HEADERS = 2**64 - 1, 0
_FULL = 255
_LONGEST_NAME = 256
#: Texts of ID3 by the first byte: how they are written, and what ends one.
_ENCODINGS = (("latin-1", 1), ("utf-16", 2), ("utf-16-be", 2), ("utf-8", 1))


def flac(source: Source) -> Texts:
    """Yield the texts of a FLAC."""
    at, is_last = 4, False
    while not is_last and at + 4 <= source.size:
        (head,) = source.unpack(">I", at)
        is_last, kind, length = bool(head >> 31), head >> 24 & 0x7F, head & 0xFFFFFF
        if kind == _COMMENTS:
            yield from _comments(source.read(at + 4, length), source)
        at += 4 + length


def _comments(block: bytes, source: Source) -> Texts:
    """Yield what a block of Vorbis' comments holds, name=text."""
    at = 4 + int.from_bytes(block[:4], "little")
    count = int.from_bytes(block[at : at + 4], "little")
    at += 4
    for _ in range(count):
        source.step()
        length = int.from_bytes(block[at : at + 4], "little")
        at += 4
        comment = block[at : at + length]
        if len(comment) < length:
            raise Broken
        name, _, text = comment.partition(b"=")
        key = name.decode("latin-1")
        if is_wanted(key):
            yield key, text_of(text)
        at += length


def ogg(source: Source) -> Texts:
    """Yield the texts of an Ogg: Opus, Vorbis, Theora or FLAC."""
    for packet in _packets(source):
        for start in _PACKETS:
            if packet.startswith(start):
                yield from _comments(packet[len(start) :], source)
        # A block of a FLAC is a packet of its own.
        if packet[:1] and packet[0] & 0x7F == _COMMENTS and len(packet) > 4:
            length = int.from_bytes(packet[1:4], "big")
            if length == len(packet) - 4:
                yield from _comments(packet[4:], source)


def _packets(source: Source) -> Iterator[bytes]:
    """Yield the packets of headers, put together from the pages of each stream."""
    parts: dict[int, list[bytes]] = {}
    at = 0
    while at + 27 <= source.size:
        magic, _, granule, stream, _, count = source.unpack("<4sHQI8sB", at)
        if magic != b"OggS" or granule not in (_HEADERS, _UNENDED):
            return
        lengths = source.read(at + 27, count)
        page = source.read(at + 27 + count, sum(lengths))
        at += 27 + count + len(page)
        packet, start = parts.setdefault(stream, []), 0
        for length in lengths:
            source.step()
            packet.append(page[start : start + length])
            start += length
            if length < _FULL:
                yield b"".join(packet)
                packet.clear()


def mp3(source: Source) -> Texts:
    """Yield the texts of an MP3, from the ID3 in front of it."""
    magic, version, _, flags, coded = source.unpack(">3sBBB4s", 0)
    if magic != b"ID3":
        return
    tag = source.peek(10, _sevens(coded))
    if flags & 0x80 and version < 4:
        tag = _synchronised(tag)
    at = 0
    if flags & 0x40 and version > 2:
        # Of the fourth version, the length of the extended header counts itself.
        at = _sevens(tag[:4]) if version == 4 else 4 + int.from_bytes(tag[:4], "big")
    for name, value in _frames(source, tag, at, version):
        if name in (b"TXXX", b"TXX"):
            yield from _described(value[:1], value[1:])
        elif name in (b"COMM", b"COM"):
            # Three letters of a language stand before what Vorbis would call the name.
            for _, text in _described(value[:1], value[4:]):
                yield COMMENT, text


def _frames(source: Source, tag: bytes, at: int, version: int) -> Iterator[tuple[bytes, bytes]]:
    letters, head = (3, 6) if version == 2 else (4, 10)
    while at + head <= len(tag) and tag[at] != 0:
        source.step()
        size = tag[at + letters : at + 2 * letters]
        length = _sevens(size) if version == 4 else int.from_bytes(size, "big")
        value = tag[at + head : at + head + length]
        flags = tag[at + 9] if version == 4 else 0
        yield tag[at : at + letters], _unwrapped(value, flags)
        at += head + length


def _unwrapped(value: bytes, flags: int) -> bytes:
    """Return a frame's content, of which the fourth version tells how it was written."""
    if flags & 0x01:
        value = value[4:]
    return _synchronised(value) if flags & 0x02 else value


def _described(encoding: bytes, value: bytes) -> Texts:
    """Yield a text behind its description; both are written in one of four ways."""
    if encoding[:1] not in (b"\0", b"\1", b"\2", b"\3"):
        return
    name, width = _ENCODINGS[encoding[0]]
    for at in range(0, min(len(value), _LONGEST_NAME), width):
        if value[at : at + width] == b"\0" * width:
            text = value[at + width :].decode(name, "replace").partition("\0")[0]
            yield value[:at].decode(name, "replace"), text
            return


def _sevens(size: bytes) -> int:
    """Return a length of which each byte holds seven bits."""
    found = 0
    for byte in size:
        found = found << 7 | byte & 0x7F
    return found


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\0", b"\xff")
