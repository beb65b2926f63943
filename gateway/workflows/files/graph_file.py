"""The graph of a workflow, in whichever form a file of the folder holds it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway import errors, graph, written
from gateway.workflows.files import json_places
from gateway.workflows.files.conversion import Conversion, converted
from gateway.workflows.files.mistakes import Mistake, shown
from gateway.written import METADATA, NotJson

#: So many nodes that cannot be converted are told of one file.
_MOST = 20


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


@dataclass(frozen=True)
class _Text:
    """A file as it is written, to find places in."""

    file: str
    #: Nothing in a picture stands on a line.
    text: str = "{}"
    #: The key that the workflow stands under.
    inside: str | None = None

    def at(self, key: str) -> tuple[int, int]:
        """Return the line and column of a key of the workflow."""
        return json_places.of_key(self.text, key, self.inside)


def parse(file: str, raw: bytes, conversion: Conversion) -> Parsed:
    """Return what a file holds."""
    if not raw.strip():
        return _wrong(file, "it is empty; it must hold a workflow")
    return (_of_json if written.is_json(raw) else _of_media)(file, raw, conversion)


def _of_json(file: str, raw: bytes, conversion: Conversion) -> Parsed:
    try:
        value = written.parse(raw)
    except NotJson as failure:
        said = f"this is not JSON: {failure.message}"
        return Parsed(None, [Mistake(file, failure.line, failure.column, said)])
    if not isinstance(value, dict):
        return _wrong(file, "a workflow is an object: {node id: node}")
    if written.is_deeper(value, conversion.deepest):
        return _wrong(file, _too_deep(conversion))
    found = written.unwrapped(value)
    text = _Text(file, written.text_of(raw).removeprefix("\ufeff"), found.key)
    if not isinstance(found.metadata, dict):
        said = f"{METADATA} must be an object"
        return Parsed(None, [Mistake(file, *text.at(METADATA), said)])
    if graph.is_ui_format(found.workflow):
        return _converted(text, found.workflow, found.metadata, conversion)
    wrong = _mistake_of_graph(text, found.workflow)
    return Parsed(None if wrong else GraphFile(found.workflow, found.metadata), wrong)


def _of_media(file: str, raw: bytes, conversion: Conversion) -> Parsed:
    try:
        found = conversion.embedded(raw, "it")
    except errors.RequestRefused as failure:
        return _wrong(file, f"{failure.message} {failure.hint or ''}".strip())
    if written.is_deeper(found, conversion.deepest):
        return _wrong(file, _too_deep(conversion))
    if graph.is_ui_format(found):
        return _converted(_Text(file), found, {}, conversion)
    return Parsed(GraphFile(found, {}), [])


def _too_deep(conversion: Conversion) -> str:
    return f"it nests deeper than {conversion.deepest} levels (MAX_JSON_DEPTH)"


def _wrong(file: str, said: str) -> Parsed:
    return Parsed(None, [Mistake(file, 1, 1, said)])


def _mistake_of_graph(text: _Text, nodes: Mapping[str, Any]) -> list[Mistake]:
    try:
        graph.check_shape(nodes)
    except errors.GatewayError as failure:
        return [_misshapen(text, nodes, failure)]
    return []


def _converted(
    text: _Text, value: dict[str, Any], metadata: dict[str, Any], conversion: Conversion
) -> Parsed:
    """Return the graph of a workflow of the canvas, once it is known what ComfyUI's nodes are."""
    extra = value.get("extra")
    metadata = metadata or (extra.get(METADATA, {}) if isinstance(extra, dict) else {})
    if not isinstance(metadata, dict):
        wrong = Mistake(text.file, *text.at("extra"), f"{METADATA} must be an object")
        return Parsed(None, [wrong], is_canvas=True)
    found, wrongs = conversion.made.get(text.file), list[Mistake]()
    definitions = {} if found else conversion.definitions()
    try:
        found = found or (converted(value, definitions) if definitions else None)
    except errors.NotConvertible as failure:
        wrongs = list(_unknown(text, failure))
    except errors.RequestRefused as failure:
        wrongs = [Mistake(text.file, 1, 1, f"{failure.message} {failure.hint or ''}".strip())]
    made = GraphFile(found.graph, metadata, tuple(found.warnings)) if found else None
    return Parsed(made, wrongs, is_canvas=True)


def _unknown(text: _Text, failure: errors.NotConvertible) -> Iterator[Mistake]:
    """Tell each node of which something cannot be known, where it stands."""
    nodes = failure.details.get("nodes") or []
    # A node of a subgraph, 12:5, stands behind the node that holds it.
    ids = {_outermost(node) for node in nodes[:_MOST]}
    places = json_places.of_nodes(text.text, ids, text.inside)
    for node in nodes[:_MOST]:
        title, origin = node.get("title"), node.get("custom_node")
        titled = f" {shown(title)}" if title and title != node["class_type"] else ""
        said = f"node {node['id']}{titled} ({node['class_type']}): {node['message'].rstrip('.')}"
        if origin and origin not in said:
            said += f"; it comes from {origin}"
        yield Mistake(text.file, *places.get(_outermost(node), (1, 1)), said)
    if len(nodes) > _MOST or not nodes:
        left = len(nodes) - _MOST
        more = f"{left} more node{'' if left == 1 else 's'} cannot be converted"
        yield Mistake(text.file, 1, 1, more if nodes else failure.message)


def _outermost(node: Mapping[str, Any]) -> str:
    return str(node["id"]).partition(":")[0]


def _misshapen(text: _Text, value: Mapping[str, Any], failure: errors.GatewayError) -> Mistake:
    if not value:
        return Mistake(text.file, 1, 1, "there is no node in it")
    location = (failure.location or "").removeprefix("prompt.")
    ids = [
        node_id for node_id in value if location == node_id or location.startswith(f"{node_id}.")
    ]
    said = failure.message.removeprefix("prompt.")
    told = f"{said} {failure.hint or ''}".strip()
    return Mistake(text.file, *text.at(max(ids, key=len, default="")), told)
