"""JSON as ComfyUI and its nodes write it: with NaN, Infinity and halves of characters."""

from __future__ import annotations

import json
from typing import Any

import orjson

#: What fits 64 bits; orjson reads larger numbers as floats.
_LEAST, _MOST = -(2**63), 2**64 - 1
_FLOAT_BITS = 1024


def parse(text: str | bytes) -> Any:
    """Return a value out of JSON that may hold NaN; raises ValueError, RecursionError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # orjson keeps to the standard; custom nodes do not, and Python's own writer lets them.
        value = json.loads(text, parse_constant=lambda _: None)
    try:
        # Twice through orjson, which writes infinity as null: several times as fast as our own way.
        return orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return _storable(value)


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
