"""The workflow that ComfyUI embeds in pictures, written into a picture of another format.

A PNG holds it as text chunks, `prompt` and `workflow`. Other formats hold it in EXIF, as ComfyUI's
own WebP saver writes it: 0x0110 "prompt:{json}", 0x010f "workflow:{json}".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from gateway.media.containers import exif
from gateway.media.containers.source import KEYS

Embedded = dict[str, str]

#: libexif, which libvips writes EXIF with, and a segment of a JPEG both end at 64 KiB.
EXIF_LIMIT = 60_000

_FIELDS = {"prompt": "exif-ifd0-Model", "workflow": "exif-ifd0-Make"}
#: libvips takes what follows the last " (" for its own remark and drops it.
_REMARK = " (x, ASCII, 1 components, 1 bytes)"


def attach(image: Any, embedded: Embedded, form: str, text_type: int) -> tuple[bytes, list[str]]:
    """Set what the format can hold on a pyvips image; `text_type` is its type of strings.

    Return an EXIF block that must be written into the file afterwards (see `into_webp`), and the
    keys that the format cannot hold.
    """
    if form == "png":
        for index, (key, text) in enumerate(embedded.items()):
            image.set_type(text_type, f"png-comment-{index}-{key}", text)
        return b"", []
    block = exif.written(embedded)
    if len(block) > EXIF_LIMIT and form == "webp":
        image.set_type(text_type, _FIELDS["prompt"], f"prompt:{_REMARK}")
        return block, []
    held = _fitting(embedded)
    for key, text in held.items():
        image.set_type(text_type, _FIELDS[key], f"{key}:{text}{_REMARK}")
    return b"", [key for key in embedded if key not in held]


def _fitting(embedded: Embedded) -> Embedded:
    held: Embedded = {}
    for key in KEYS:
        if key in embedded and len(exif.written({**held, key: embedded[key]})) <= EXIF_LIMIT:
            held[key] = embedded[key]
    return held


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
