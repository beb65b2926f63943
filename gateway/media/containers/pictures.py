"""PNG, WebP and JPEG: chunks and segments, one after another."""

from __future__ import annotations

from gateway.media.containers import exif
from gateway.media.containers.source import Broken, Source, Texts, is_wanted, text_of

#: The longest name of a text in a PNG, and the byte that ends it.
_KEYWORD_BYTES = 80
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
#: Markers of a JPEG that nothing follows.
_ALONE = (0x01, *range(0xD0, 0xD9))


def png(source: Source) -> Texts:
    """Yield the texts of a PNG; `comf` is where ComfyUI puts them in an animated one."""
    at = 8
    while at + 8 <= source.size:
        length, name = source.unpack(">I4s", at)
        if name == b"IEND":
            return
        if name in _UNPACKED:
            keyword, _, _ = source.peek(at + 8, min(length, _KEYWORD_BYTES)).partition(b"\0")
            key = keyword.decode("latin-1")
            if is_wanted(key):
                value = source.read(at + 8, length)[len(keyword) + 1 :]
                yield key, text_of(_UNPACKED[name](value, source))
        elif name == b"eXIf":
            yield from exif.texts(source.read(at + 8, length), source)
        at += 12 + length


def _plain(value: bytes, _: Source) -> bytes:
    return value


def _compressed(value: bytes, source: Source) -> bytes:
    return source.inflated(value[1:])


def _international(value: bytes, source: Source) -> bytes:
    is_compressed = value[:1] == b"\1"
    # Language and translated name stand before the text.
    parts = value[2:].split(b"\0", 2)
    if len(parts) < 3:
        raise Broken
    return source.inflated(parts[2]) if is_compressed else parts[2]


_UNPACKED = {b"tEXt": _plain, b"comf": _plain, b"zTXt": _compressed, b"iTXt": _international}


def webp(source: Source) -> Texts:
    """Yield the texts in the EXIF of a WebP."""
    at = 12
    while at + 8 <= source.size:
        name, length = source.unpack("<4sI", at)
        if name == b"EXIF":
            yield from exif.texts(source.peek(at + 8, length), source)
        at += 8 + length + length % 2


def jpeg(source: Source) -> Texts:
    """Yield the texts in the EXIF of a JPEG."""
    at = 2
    while at + 4 <= source.size:
        mark, code = source.unpack(">BB", at)
        if mark != 0xFF or code == _START_OF_SCAN:
            return
        if code == 0xFF or code in _ALONE:
            at += 1 if code == 0xFF else 2
            continue
        (length,) = source.unpack(">H", at + 2)
        if code == _APP1:
            block = source.read(at + 4, length - 2)
            if block.startswith(exif.PREFIX):
                yield from exif.texts(block, source)
        at += 2 + length
