"""The workflow that ComfyUI embeds in pictures: read from one format, written into another.

A PNG holds it as text chunks, `prompt` and `workflow`. Other formats hold it in EXIF, as ComfyUI's
own WebP saver writes it: 0x0110 "prompt:{json}", 0x010f "workflow:{json}".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

Embedded = dict[str, str]

#: libexif, which libvips writes EXIF with, and a segment of a JPEG both end at 64 KiB.
EXIF_LIMIT = 60_000

_TAGS = {"prompt": 0x0110, "workflow": 0x010F}
_FIELDS = {"prompt": "exif-ifd0-Model", "workflow": "exif-ifd0-Make"}
#: libvips takes what follows the last " (" for its own remark and drops it.
_REMARK = " (x, ASCII, 1 components, 1 bytes)"
_ASCII = 2
_MOST_ENTRIES = 500


def read(image: Any) -> Embedded:
    """Return what a pyvips image carries; the EXIF block is read where libexif would cut it."""
    found: Embedded = {}
    for field in image.get_fields():
        key = field.rpartition("-")[2]
        if field.startswith("png-comment-") and key in _TAGS:
            found[key] = image.get(field)
    if not found and image.get_typeof("exif-data"):
        found = from_exif(bytes(image.get("exif-data")))
    return found


def attach(image: Any, embedded: Embedded, form: str, text_type: int) -> tuple[bytes, list[str]]:
    """Set what the format can hold on a pyvips image; `text_type` is its type of strings.

    Return an EXIF block that must be written into the file afterwards (see `into_webp`), and the
    keys that the format cannot hold.
    """
    if form == "png":
        for index, (key, text) in enumerate(embedded.items()):
            image.set_type(text_type, f"png-comment-{index}-{key}", text)
        return b"", []
    block = to_exif(embedded)
    if len(block) > EXIF_LIMIT and form == "webp":
        image.set_type(text_type, _FIELDS["prompt"], f"prompt:{_REMARK}")
        return block, []
    held = _fitting(embedded)
    for key, text in held.items():
        image.set_type(text_type, _FIELDS[key], f"{key}:{text}{_REMARK}")
    return b"", [key for key in embedded if key not in held]


def _fitting(embedded: Embedded) -> Embedded:
    held: Embedded = {}
    for key in _TAGS:
        if key in embedded and len(to_exif({**held, key: embedded[key]})) <= EXIF_LIMIT:
            held[key] = embedded[key]
    return held


def to_exif(embedded: Embedded) -> bytes:
    """Return an EXIF block (a TIFF directory, big-endian) that holds the texts."""
    texts = {_TAGS[key]: f"{key}:{text}".encode() + b"\0" for key, text in embedded.items()}
    start = 8 + 2 + 12 * len(texts) + 4
    entries, tail = b"", b""
    for tag, text in sorted(texts.items()):
        # Four bytes or less stand in the entry itself.
        place = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack(">I", start + len(tail))
        entries += struct.pack(">HHI", tag, _ASCII, len(text)) + place
        tail += text + b"\0" * (len(text) % 2) if len(text) > 4 else b""
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(texts)) + entries + b"\0\0\0\0" + tail


def from_exif(block: bytes) -> Embedded:
    """Return what an EXIF block holds of ComfyUI's; a block that makes no sense holds nothing."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"MM": ">", b"II": "<"}.get(block[:2])
    if order is None:
        return {}
    try:
        return _entries(block, order)
    except (struct.error, UnicodeDecodeError):
        return {}


def _entries(block: bytes, order: str) -> Embedded:
    found: Embedded = {}
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for index in range(min(count, _MOST_ENTRIES)):
        _, kind, length, place = struct.unpack_from(f"{order}HHII", block, at + 2 + 12 * index)
        if kind != _ASCII or length <= 4:
            continue
        key, colon, text = block[place : place + length].rstrip(b"\0").decode().partition(":")
        if colon and key in _TAGS:
            found[key] = text
    return found


def into_webp(path: Path, block: bytes) -> None:
    """Replace the EXIF chunk of a WebP file, which must have one; raises ValueError, OSError."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        at = 12
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            after = at + 8 + length + length % 2
            if name == b"EXIF":
                file.seek(after)
                rest = file.read()
                file.seek(at)
                file.write(struct.pack("<4sI", b"EXIF", len(block)))
                file.write(block + b"\0" * (len(block) % 2) + rest)
                file.truncate()
                whole = file.tell()
                file.seek(4)
                file.write(struct.pack("<I", whole - 8))
                return
            at = after
    raise ValueError("the WebP has no EXIF chunk")
