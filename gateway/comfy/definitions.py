"""The definitions of node classes, packed: what a conversion of the UI format reads of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

#: What nobody reads here, and what is long.
_UNREAD = ("tooltip", "values", "placeholder")


class Definitions(Mapping[str, Any]):
    """Node classes in the form of `/object_info`, of every list of choices only the first.

    Hundreds of classes list thousands of files each; packed, they take some hundred bytes a class.
    """

    def __init__(self, packed_classes: Mapping[str, bytes]) -> None:
        self._packed = packed_classes

    def __getitem__(self, name: str) -> Any:
        return orjson.loads(self._packed[name])

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Definitions):
            # Without unpacking them: this is asked at every start of ComfyUI.
            return self._packed == other._packed
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(frozenset(self._packed))


def packed(entry: Mapping[str, Any]) -> bytes:
    """Return a class of `/object_info` in few bytes."""
    groups = entry.get("input")
    found = {
        "input": {
            group: {name: _short(spec) for name, spec in inputs.items()}
            for group, inputs in (groups if isinstance(groups, dict) else {}).items()
            if isinstance(inputs, dict)
        },
        **{key: entry[key] for key in ("input_order", "output", "display_name") if key in entry},
    }
    try:
        return orjson.dumps(found)
    except orjson.JSONEncodeError:
        # Halves of characters, which Python reads and UTF-8 cannot hold.
        return json.dumps(found, ensure_ascii=False).encode(errors="replace")


def _short(spec: Any) -> Any:
    if not isinstance(spec, list) or not spec:
        return spec
    kind = spec[0][:1] if isinstance(spec[0], list) else spec[0]
    if len(spec) < 2 or not isinstance(spec[1], dict):
        return [kind]
    options = {key: value for key, value in spec[1].items() if key not in _UNREAD}
    choices = options.get("options")
    if isinstance(choices, list) and not any(isinstance(one, dict) for one in choices):
        # Not those of choices that bring inputs of their own.
        options["options"] = choices[:1]
    return [kind, options]
