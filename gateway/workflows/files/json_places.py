"""Where something stands in a text of JSON; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def of_key(text: str, key: str, inside: str | None = None) -> tuple[int, int]:
    """Return the line and column of a key of the outermost object, its own where it has none.

    `inside`: of the object that this key of the outermost has.
    """
    start = _inner(text, inside)
    return _place(text, next((at for name, at, _ in _keys(text, start) if name == key), start))


def of_nodes(
    text: str, ids: Collection[str], inside: str | None = None
) -> dict[str, tuple[int, int]]:
    """Return the lines and columns of some nodes in the `nodes` of a workflow of the canvas."""
    found: dict[str, tuple[int, int]] = {}
    keys = _keys(text, _inner(text, inside))
    nodes = next((at for name, _, at in keys if name == "nodes"), None)
    for node, at in _entries(text, nodes) if nodes is not None else ():
        node_id = str(node.get("id")) if isinstance(node, dict) else ""
        if node_id in ids:
            found.setdefault(node_id, _place(text, at))
    return found


def _inner(text: str, inside: str | None) -> int:
    """Return where the object begins that is meant."""
    return next((at for name, _, at in _keys(text, 0) if name == inside), 0)


def _place(text: str, offset: int) -> tuple[int, int]:
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def _keys(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Yield each key of the object that begins here, where it stands, and where its value does;
    the text is valid JSON."""
    at = _after(text, start) + 1
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
