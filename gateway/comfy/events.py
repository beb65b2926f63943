"""ComfyUI's WebSocket frames, parsed leniently: no frame may harm the gateway."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from gateway import loose_json

_PREVIEW_IMAGE = 1
_PREVIEW_WITH_METADATA = 4
_IMAGE_TYPES = {1: "image/jpeg", 2: "image/png"}


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
        found = loose_json.parse(text)
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
        metadata = loose_json.parse(data[8 : 8 + length])
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
