"""The graph of a workflow, in whichever form a file of the folder holds it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from gateway import errors, graph
from gateway.workflows.files import json_places
from gateway.workflows.files.conversion import Conversion, converted
from gateway.workflows.files.mistakes import Mistake, shown
from gateway.workflows.files.sources import is_media

METADATA = "_workflow_metadata"
#: Far deeper than any workflow, and far from what cannot be written as JSON again.
_DEEPEST = 64
#: So many nodes that cannot be converted are told of one file.
_MOST = 20
_NO_WORKFLOW = "there is no workflow in it; files that ComfyUI made hold one, until they are edited"


@dataclass(frozen=True)
class GraphFile:
    """A graph, and what the file says of it."""

    graph: graph.Graph
    metadata: Mapping[str, Any]
    #: What is worth knowing of its conversion.
    warnings: tuple[str, ...] = ()


class Parsed(NamedTuple):
    """What a file amounts to; neither a graph nor a mistake: it waits for ComfyUI's definitions."""

    found: GraphFile | None
    mistakes: list[Mistake]
    #: Whether it is in the format of the canvas: the definitions decide about its graph.
    is_canvas: bool = False


def parse(file: str, raw: bytes, conversion: Conversion) -> Parsed:
    """Return what a file holds."""
    value: Any
    if is_media(file):
        inside = conversion.embedded(raw)
        value = inside.best if inside is not None else None
        wrong = Mistake(file, 1, 1, _NO_WORKFLOW) if inside is None else None
        # Nothing in it stands on a line.
        raw = b"{}"
    else:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
        value, wrong = _json(file, raw)
    wrong = wrong or _mistake(file, raw, value)
    if wrong is not None:
        return Parsed(None, [wrong])
    if graph.is_ui_format(value):
        return _converted(file, raw, value, conversion.definitions())
    metadata = value.pop(METADATA, {})
    wrong = _mistake_of_graph(file, raw, value)
    if wrong is not None:
        return Parsed(None, [wrong])
    # What ran bears the marks of its job.
    return Parsed(GraphFile(graph.unmarked(value) if is_media(file) else value, metadata), [])


def _json(file: str, raw: bytes) -> tuple[Any, Mistake | None]:
    try:
        return orjson.loads(raw), None
    except orjson.JSONDecodeError as failure:
        said = f"this is not JSON: {failure.msg}"
        if not raw.strip():
            said = "it is empty; it must hold a workflow"
        return None, Mistake(file, failure.lineno, failure.colno, said)


def _mistake(file: str, raw: bytes, value: Any) -> Mistake | None:
    if not isinstance(value, dict):
        return Mistake(file, 1, 1, "a workflow is an object: {node id: node}")
    if _is_deeper(value, _DEEPEST):
        return Mistake(file, 1, 1, f"it nests deeper than {_DEEPEST} levels")
    if not isinstance(value.get(METADATA, {}), dict):
        return Mistake(file, *json_places.of_key(raw, METADATA), f"{METADATA} must be an object")
    return None


def _mistake_of_graph(file: str, raw: bytes, nodes: Mapping[str, Any]) -> Mistake | None:
    try:
        graph.check_shape(nodes)
    except errors.GatewayError as failure:
        return _misshapen(file, raw, nodes, failure)
    return None


def _converted(
    file: str, raw: bytes, value: dict[str, Any], definitions: Mapping[str, Any]
) -> Parsed:
    """Return the graph of a workflow of the canvas, once it is known what ComfyUI's nodes are."""
    extra = value.get("extra")
    inner = extra.pop(METADATA, {}) if isinstance(extra, dict) else {}
    metadata = value.pop(METADATA, inner)
    if not isinstance(metadata, dict):
        wrong = Mistake(file, *json_places.of_key(raw, "extra"), f"{METADATA} must be an object")
        return Parsed(None, [wrong], is_canvas=True)
    if not definitions:
        return Parsed(None, [], is_canvas=True)
    try:
        made, warnings = converted(value, definitions)
    except errors.NotConvertible as failure:
        return Parsed(None, list(_unknown(file, raw, failure)), is_canvas=True)
    except errors.RequestRefused as failure:
        wrong = Mistake(file, 1, 1, f"{failure.message} {failure.hint or ''}".strip())
        return Parsed(None, [wrong], is_canvas=True)
    return Parsed(GraphFile(made, metadata, tuple(warnings)), [], is_canvas=True)


def _unknown(file: str, raw: bytes, failure: errors.NotConvertible) -> Iterator[Mistake]:
    """Tell each node of which something cannot be known, where it stands."""
    nodes = failure.details.get("nodes") or []
    # A node of a subgraph, 12:5, stands behind the node that holds it.
    places = json_places.of_nodes(raw, {_outermost(node) for node in nodes[:_MOST]})
    for node in nodes[:_MOST]:
        title, origin = node.get("title"), node.get("custom_node")
        titled = f" {shown(title)}" if title and title != node["class_type"] else ""
        said = f"node {node['id']}{titled} ({node['class_type']}): {node['message'].rstrip('.')}"
        if origin and origin not in said:
            said += f"; it comes from {origin}"
        yield Mistake(file, *places.get(_outermost(node), (1, 1)), said)
    if len(nodes) > _MOST or not nodes:
        more = f"{len(nodes) - _MOST} more nodes cannot be converted"
        yield Mistake(file, 1, 1, more if nodes else failure.message)


def _outermost(node: Mapping[str, Any]) -> str:
    return str(node["id"]).partition(":")[0]


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
    line, column = json_places.of_key(raw, max(ids, key=len, default=""))
    said = failure.message.removeprefix("prompt.")
    return Mistake(file, line, column, f"{said} {failure.hint or ''}".strip())
