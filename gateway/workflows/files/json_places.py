"""Where something stands in a text of JSON; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def of_key(raw: bytes, key: str) -> tuple[int, int]:
    """Return the line and column of a key of the outermost object, its own where it has none."""
    text = raw.decode()
    return _place(text, next((at for name, at, _ in _keys(text) if name == key), 0))


def of_nodes(raw: bytes, ids: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return the lines and columns of some nodes in the `nodes` of a workflow of the canvas."""
    text = raw.decode()
    found: dict[str, tuple[int, int]] = {}
    nodes = next((at for name, _, at in _keys(text) if name == "nodes"), None)
    for node, at in _entries(text, nodes) if nodes is not None else ():
        node_id = str(node.get("id")) if isinstance(node, dict) else ""
        if node_id in ids:
            found.setdefault(node_id, _place(text, at))
    return found


def _place(text: str, offset: int) -> tuple[int, int]:
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def _keys(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each key of the outermost object, where it stands, and where its value does; the
    text is valid JSON."""
    at = _after(text, 0) + 1
    while text[at := _after(text, at)] != "}":
        key, end = _DECODER.raw_decode(text, at)
        value = _after(text, _after(text, end) + 1)
        yield key, at, value
        _, end = _DECODER.raw_decode(text, value)
        at = _after(text, end)
        at += text[at] == ","


def _entries(text: str, at: int) -> Iterator[tuple[object, int]]:
    """Yield each entry of a list that begins here, and where it stands."""
    at += 1
    while text[at := _after(text, at)] != "]":
        entry, end = _DECODER.raw_decode(text, at)
        yield entry, at
        at = _after(text, end)
        at += text[at] == ","


def _after(text: str, at: int) -> int:
    """Return where the blanks end that begin here."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at
