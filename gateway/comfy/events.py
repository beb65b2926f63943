"""ComfyUI's WebSocket frames, parsed leniently: no frame may harm the gateway."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import orjson

_PREVIEW_IMAGE = 1
_PREVIEW_WITH_METADATA = 4
_IMAGE_TYPES = {1: "image/jpeg", 2: "image/png"}
#: What fits 64 bits; orjson reads larger numbers as floats.
_LEAST, _MOST = -(2**63), 2**64 - 1
_FLOAT_BITS = 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """A text frame: `{type, data}`; data that is not an object reads as empty."""

    type: str
    data: dict[str, Any]
    #: All of it, as it came.
    whole: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def prompt_id(self) -> str | None:
        """The prompt that it is about, where it says so."""
        found = self.data.get("prompt_id")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Preview:
    """A binary frame: a picture of a node's progress."""

    content_type: str
    data: bytes
    prompt_id: str | None = None
    node_id: str | None = None


def parse_text(text: str) -> Frame | None:
    """Return the frame, or None when it is not one."""
    try:
        found = parse_json(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        return None
    data = found.get("data")
    return Frame(found["type"], data if isinstance(data, dict) else {}, found)


def renamed(frame: Frame, job_id: str) -> dict[str, Any]:
    """Return a whole frame with the caller's name for the job in place of ComfyUI's."""
    data = dict(frame.data)
    if "prompt_id" in data:
        data["prompt_id"] = job_id
    nodes = data.get("nodes")
    if isinstance(nodes, dict):
        data["nodes"] = {node: _named(entry, job_id) for node, entry in nodes.items()}
    return {**frame.whole, "data": data}


def _named(entry: Any, job_id: str) -> Any:
    if isinstance(entry, dict) and "prompt_id" in entry:
        return {**entry, "prompt_id": job_id}
    return entry


def parse_json(text: str | bytes) -> Any:
    """Return a value out of JSON that may hold NaN and Infinity; raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # orjson keeps to the standard; custom nodes do not, and Python's own writer lets them.
        return _storable(json.loads(text, parse_constant=lambda _: None))


def _storable(value: Any) -> Any:
    """Return it without what neither our database nor our own answers could carry."""
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, dict):
        return {_whole(key): _storable(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_storable(entry) for entry in value]
    if isinstance(value, float):
        # 1e999 reads as infinity.
        return value if value - value == 0 else None
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return _storable(float(value)) if value.bit_length() < _FLOAT_BITS else None
    return value


def _whole(text: str) -> str:
    # Half a pair of surrogates, where a node cut a text in the middle of a character.
    return (
        text
        if text.isascii()
        else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def parse_binary(data: bytes) -> Preview | None:
    """Return the preview: 4-byte event type, 4-byte image type, then the picture."""
    if len(data) < 8:
        return None
    event, kind = struct.unpack(">II", data[:8])
    if event == _PREVIEW_IMAGE and kind in _IMAGE_TYPES:
        return Preview(_IMAGE_TYPES[kind], data[8:])
    if event == _PREVIEW_WITH_METADATA:
        return _with_metadata(data, kind)
    return None


def _with_metadata(data: bytes, length: int) -> Preview | None:
    # Newer cores: 4-byte event type, 4-byte length of a JSON, the JSON, then the picture.
    try:
        metadata = parse_json(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return None
    if not isinstance(metadata, dict):
        return None
    texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    return Preview(
        texts.get("image_type", "image/jpeg"),
        data[8 + length :],
        texts.get("prompt_id"),
        texts.get("node_id"),
    )
