"""EXIF, which is a TIFF of tags: texts out of it, and texts into a new one.

ComfyUI's own WebP savers write 0x0110 "prompt:{json}", and 0x010f and downwards what else there
is, "workflow:{json}". Others write the same under other tags, with a capital letter, or both into
the comment of the user.
"""

from __future__ import annotations

import codecs
import struct

from gateway.media.containers.source import COMMENT, KEYS, Source, Texts, text_of

PREFIX = b"Exif\0\0"
_TAGS = {"prompt": 0x0110, "workflow": 0x010F}
_SECOND_DIRECTORY = 0x8769
_USER_COMMENT = 0x9286
_ASCII, _UNDEFINED = 2, 7
_BYTES = (1, _ASCII, _UNDEFINED)
_MOST_ENTRIES = 500
#: A user's comment begins with eight bytes that name its characters.
_CHARSET_BYTES = 8


def written(texts: dict[str, str]) -> bytes:
    """Return an EXIF block, big-endian, that holds the texts as ComfyUI itself writes them."""
    entries = {_TAGS[key]: f"{key}:{text}".encode() + b"\0" for key, text in texts.items()}
    start = 8 + 2 + 12 * len(entries) + 4
    table, tail = b"", b""
    for tag, text in sorted(entries.items()):
        # Four bytes or less stand in the entry itself.
        place = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack(">I", start + len(tail))
        table += struct.pack(">HHI", tag, _ASCII, len(text)) + place
        tail += text + b"\0" * (len(text) % 2) if len(text) > 4 else b""
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + table + b"\0\0\0\0" + tail


def texts(block: bytes, source: Source) -> Texts:
    """Yield what an EXIF block out of a file holds of ComfyUI's; what makes no sense, not."""
    block = block.removeprefix(PREFIX)
    order = {b"MM": ">", b"II": "<"}.get(block[:2])
    if order is None:
        return
    try:
        (at,) = struct.unpack_from(f"{order}I", block, 4)
        yield from _directory(block, source, order, at)
    except struct.error:
        return


def _directory(block: bytes, source: Source, order: str, at: int, inner: int = 1) -> Texts:
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for index in range(min(count, _MOST_ENTRIES)):
        source.step()
        tag, kind, length, place = struct.unpack_from(f"{order}HHII", block, at + 2 + 12 * index)
        if tag == _SECOND_DIRECTORY and inner:
            yield from _directory(block, source, order, place, inner - 1)
        elif kind in _BYTES and length > 4:
            value = block[place : place + length]
            # Any number of entries may point to the same place.
            source.spend(len(value))
            yield from _named(_comment(value) if tag == _USER_COMMENT else text_of(value))


def _named(text: str) -> Texts:
    key, colon, rest = text.partition(":")
    if colon and key.strip().lower() in KEYS:
        yield key.strip().lower(), rest
    elif text.lstrip().startswith("{"):
        yield COMMENT, text


def _comment(value: bytes) -> str:
    charset, text = value[:_CHARSET_BYTES], value[_CHARSET_BYTES:]
    if not charset.startswith(b"UNICODE"):
        # Some leave the name of the characters away.
        return text_of(text if charset.strip(b"\0") in (b"", b"ASCII", b"JIS") else value)
    # Many write it big-endian into a little-endian block: the first character tells.
    is_marked = text[:2] in (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)
    order = "" if is_marked else "-be" if text[:1] == b"\0" else "-le"
    return text.decode(f"utf-16{order}", "replace").partition("\0")[0]
