"""The JSON of a workflow, as a file of the folder has it; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import errors, graph
from gateway.workflows.files.mistakes import Mistake

METADATA = "_workflow_metadata"
#: Far deeper than any workflow, and far from what cannot be written as JSON again.
_DEEPEST = 64
_BLANKS = re.compile(r"[ \t\n\r]*")
_UI = (
    "this is a workflow as the canvas saves it; save it in the API format: Workflow > Export (API)"
)


@dataclass(frozen=True)
class GraphFile:
    """A graph, and what the file says of it."""

    graph: graph.Graph
    metadata: Mapping[str, Any]


def parse(file: str, raw: bytes) -> tuple[GraphFile | None, list[Mistake]]:
    """Return what a file holds; None with what is wrong with it."""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as failure:
        said = f"this is not JSON: {failure.msg}"
        if not raw.strip():
            said = "it is empty; it must hold a workflow in API format"
        return None, [Mistake(file, failure.lineno, failure.colno, said)]
    wrong = _mistake(file, raw, value)
    if wrong is not None:
        return None, [wrong]
    metadata = value.pop(METADATA, {})
    return GraphFile(value, metadata), []


def _mistake(file: str, raw: bytes, value: Any) -> Mistake | None:
    if not isinstance(value, dict):
        return Mistake(file, 1, 1, "a workflow is an object: {node id: node}")
    if _is_deeper(value, _DEEPEST):
        return Mistake(file, 1, 1, f"it nests deeper than {_DEEPEST} levels")
    if not isinstance(value.get(METADATA, {}), dict):
        return Mistake(file, *_place(raw, METADATA), f"{METADATA} must be an object")
    nodes = {node_id: node for node_id, node in value.items() if node_id != METADATA}
    try:
        graph.check_shape(nodes)
    except errors.UiWorkflow:
        return Mistake(file, 1, 1, _UI)
    except errors.GatewayError as failure:
        return _misshapen(file, raw, nodes, failure)
    return None


def _is_deeper(value: Any, most: int) -> bool:
    level: list[Any] = [value]
    for _ in range(most):
        inner = (
            child
            for found in level
            for child in (found.values() if isinstance(found, dict) else found)
        )
        level = [child for child in inner if isinstance(child, dict | list)]
    return bool(level)


def _misshapen(
    file: str, raw: bytes, value: Mapping[str, Any], failure: errors.GatewayError
) -> Mistake:
    if not value:
        return Mistake(file, 1, 1, "there is no node in it")
    location = (failure.location or "").removeprefix("prompt.")
    ids = [
        node_id for node_id in value if location == node_id or location.startswith(f"{node_id}.")
    ]
    line, column = _place(raw, max(ids, key=len, default=""))
    said = failure.message.removeprefix("prompt.")
    return Mistake(file, line, column, f"{said} {failure.hint or ''}".strip())


def _place(raw: bytes, key: str) -> tuple[int, int]:
    """Return the line and column of a key of the outermost object."""
    text = raw.decode()
    offset = next((at for name, at in _keys(text) if name == key), 0)
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def _keys(text: str) -> Iterator[tuple[str, int]]:
    """Yield the keys of the outermost object, and where they stand; the text is valid JSON."""
    decoder = json.JSONDecoder()
    at = _after(text, 0) + 1
    while text[at := _after(text, at)] != "}":
        key, end = decoder.raw_decode(text, at)
        yield key, at
        _, end = decoder.raw_decode(text, _after(text, _after(text, end) + 1))
        at = _after(text, end)
        at += text[at] == ","


def _after(text: str, at: int) -> int:
    """Return where the blanks end that begin here."""
    found = _BLANKS.match(text, at)
    return found.end() if found else at
