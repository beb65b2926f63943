"""The workflow that ComfyUI puts into what it saves, read from pictures, sounds and films."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from gateway import loose_json, written
from gateway.media import sniff
from gateway.media.containers import boxes, documents, matroska, pictures, sounds
from gateway.media.containers.source import COMMENT, KEYS, Broken, Source, Texts

#: Bytes that are read of a file, or unpacked: no file makes us hold more.
LARGEST_BYTES = 64 << 20

_READERS: dict[sniff.MediaType, Callable[[Source], Texts]] = {
    sniff.PNG: pictures.png,
    sniff.WEBP: pictures.webp,
    sniff.JPEG: pictures.jpeg,
    **dict.fromkeys((sniff.AVIF, sniff.HEIC), boxes.avif),
    **dict.fromkeys((sniff.MP4, sniff.MOV, sniff.M4A), boxes.film),
    **dict.fromkeys((sniff.WEBM, sniff.MKV), matroska.tags),
    **dict.fromkeys((sniff.OGG, sniff.OPUS, sniff.OGV), sounds.ogg),
    sniff.FLAC: sounds.flac,
    sniff.MP3: sounds.mp3,
    sniff.GLB: documents.glb,
    sniff.SVG: documents.svg,
}


@dataclass(frozen=True)
class Found:
    """What a file holds: at least one of them."""

    #: The graph that ran, in the format of the API.
    prompt: dict[str, Any] | None
    #: The canvas that it was made on.
    workflow: dict[str, Any] | None

    @property
    def best(self) -> dict[str, Any]:
        """The graph that ran, or else the canvas.

        Other programs put what is no graph under the same name; it hides no canvas.
        """
        held = [one for one in (self.prompt, self.workflow) if one]
        return next(filter(written.is_workflow, held), held[0] if held else {})


def workflow_in(path: Path) -> Found | None:
    """Return what a file holds; None when there is none, or it is broken, or not there.

    It seeks to what it wants: the size of the file does not matter.
    """
    return _found(_opened(path))


def workflow_of(data: bytes) -> Found | None:
    """Return what the bytes of a file hold; None when there is none, or they are broken."""
    return _found(_held(io.BytesIO(data), len(data)))


def texts_in(path: Path) -> dict[str, str]:
    """Return what a file holds as it is written there: `prompt` and `workflow`, or less."""
    return _texts(_opened(path))


def texts_of(data: bytes) -> dict[str, str]:
    """Return what the bytes of a file hold, as `texts_in` does."""
    return _texts(_held(io.BytesIO(data), len(data)))


def _texts(held: dict[str, Any]) -> dict[str, str]:
    return {
        key: value if isinstance(value, str) else orjson.dumps(value).decode()
        for key, value in held.items()
    }


def _opened(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return _held(file, file.seek(0, io.SEEK_END))
    except OSError:
        return {}


def _found(held: dict[str, Any]) -> Found | None:
    prompt, workflow = (_parsed(held.get(key)) for key in KEYS)
    return Found(prompt, workflow) if prompt or workflow else None


def _held(file: BinaryIO, size: int) -> dict[str, Any]:
    """Return the first of each name; what stands before a break counts."""
    source = Source(file, size, LARGEST_BYTES)
    held: dict[str, Any] = {}
    try:
        kind = sniff.kind_of(source.peek(0, sniff.HEAD_BYTES))
        for name, text in _READERS[kind](source) if kind in _READERS else ():
            key = name.lower()
            inside = _parsed(text) if key == COMMENT else {key: text}
            for each in KEYS:
                if inside and _is_mapping(inside.get(each)):
                    held.setdefault(each, inside[each])
            if len(held) == len(KEYS):
                break
    except (Broken, OSError, struct.error, zlib.error):
        pass
    return held


def _is_mapping(value: Any) -> bool:
    # Others put what was asked of the model under the same name.
    return isinstance(value, dict) or (isinstance(value, str) and value.lstrip()[:1] == "{")


def _parsed(value: Any) -> dict[str, Any] | None:
    """Return the mapping that a text is; in a comment it may already be one."""
    if isinstance(value, str):
        try:
            value = loose_json.parse(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) and value else None
