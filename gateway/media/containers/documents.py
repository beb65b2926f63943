"""GLB and SVG: what is mostly text already."""

from __future__ import annotations

from typing import Any

from gateway import loose_json
from gateway.media.containers.source import COMMENT, KEYS, Source, Texts

_JSON_CHUNK = b"JSON"
_METADATA, _BEGIN, _END = b"<metadata>", b"<![CDATA[", b"]]>"
#: Where the metadata of an SVG must end: ComfyUI puts it right behind the first tag.
_HEAD_BYTES = 16 << 20


def glb(source: Source) -> Texts:
    """Yield the texts of a GLB, under `asset.extras`."""
    length, name = source.unpack("<I4s", 12)
    if name != _JSON_CHUNK:
        return
    try:
        found = loose_json.parse(source.read(20, length))
    except (ValueError, RecursionError):
        return
    extras = _inside(_inside(found, "asset"), "extras")
    for key in KEYS:
        text = _inside(extras, key)
        if isinstance(text, str):
            yield key, text


def _inside(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def svg(source: Source) -> Texts:
    """Yield the one text of an SVG that holds both."""
    # The first alone: a pattern would try each of a million that never end.
    _, _, rest = source.peek(0, _HEAD_BYTES).partition(_METADATA)
    before, _, rest = rest.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    if end and not before.strip():
        yield COMMENT, text.decode("utf-8", "replace")
