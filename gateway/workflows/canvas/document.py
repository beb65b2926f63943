"""The file of the canvas, taken apart: sheets of nodes and links, definitions of subgraphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway import errors
from gateway.workflows.canvas.definitions import mapping

#: Where links of a subgraph begin that come from outside, and end that lead there.
INPUTS, OUTPUTS = "-10", "-20"
MUTED, BYPASSED = 2, 4
#: Names that classes had once.
_RENAMED = {
    "T2IAdapterLoader": "ControlNetLoader",
    "ConditioningAverage ": "ConditioningAverage",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning",
}


@dataclass(frozen=True, slots=True)
class Link:
    """A wire; `origin` is the node that it comes from, or INPUTS."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, slots=True)
class SavedNode:
    """A node as the file has it."""

    id: str
    type: str
    title: str
    mode: int
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    #: Values by position, or by name; None where the file has none.
    values: list[Any] | Mapping[str, Any] | None
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Port:
    """Where links enter or leave a subgraph."""

    name: str
    type: str
    links: tuple[str, ...]


@dataclass(slots=True)
class Sheet:
    """One level of the canvas: the workflow itself, or what a subgraph consists of."""

    #: Empty for the workflow itself.
    id: str = ""
    name: str = ""
    nodes: dict[str, SavedNode] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the canvas."""

    root: Sheet
    subgraphs: Mapping[str, Sheet]
    groups: Mapping[str, Mapping[str, Any]]
    extra: Mapping[str, Any] = field(default_factory=dict)


def read(ui: Mapping[str, Any]) -> Document:
    """Take a file apart; raises InvalidRequest that names what is not as it should be."""
    if not isinstance(ui, Mapping):
        raise _wrong("prompt", "a workflow is an object")
    extra = mapping(ui.get("extra"))
    groups = {
        name: found
        for name, found in mapping(extra.get("groupNodes")).items()
        if isinstance(found, Mapping)
    }
    return Document(_sheet(ui, "prompt"), dict(_subgraphs(ui)), groups, extra)


def _subgraphs(ui: Mapping[str, Any]) -> Iterator[tuple[str, Sheet]]:
    """Yield the definitions, those within others too."""
    waiting: list[Any] = [ui]
    while waiting:
        found = mapping(mapping(waiting.pop()).get("definitions")).get("subgraphs")
        for index, definition in enumerate(found if isinstance(found, list) else ()):
            where = f"prompt.definitions.subgraphs.{index}"
            if not isinstance(definition, Mapping):
                raise _wrong(where, "a subgraph is an object")
            if definition.get("id") in (None, ""):
                raise _wrong(f"{where}.id", "a subgraph has an id")
            waiting.append(definition)
            sheet = _sheet(definition, where, str(definition["id"]))
            yield sheet.id, sheet


def _sheet(saved: Mapping[str, Any], where: str, sheet_id: str = "") -> Sheet:
    nodes = _list(saved.get("nodes"), f"{where}.nodes")
    links = saved.get("links")
    if isinstance(links, Mapping):
        links = list(links.values())
    return Sheet(
        id=sheet_id,
        name=str(saved.get("name") or ""),
        nodes=_nodes(nodes, f"{where}.nodes", saved),
        links=dict(_links(_list(links, f"{where}.links"))),
        inputs=list(_ports(saved.get("inputs"))),
        outputs=list(_ports(saved.get("outputs"))),
    )


def _nodes(found: list[Any], where: str, saved: Mapping[str, Any]) -> dict[str, SavedNode]:
    nodes: dict[str, SavedNode] = {}
    last = max((_number(node.get("id")) for node in found if isinstance(node, Mapping)), default=0)
    last = max(last, _number(saved.get("last_node_id")))
    for index, node in enumerate(found):
        if not isinstance(node, Mapping):
            raise _wrong(f"{where}.{index}", "a node is an object")
        node_id = node.get("id")
        if node_id is None or str(node_id) in nodes:
            # The frontend gives a new number to whoever has none, or that of another.
            last += 1
            node_id = last
        read_node = saved_node(str(node_id), node, f"{where}.{index}")
        nodes[read_node.id] = read_node
    return nodes


def saved_node(node_id: str, node: Mapping[str, Any], where: str) -> SavedNode:
    """Read a node; raises InvalidRequest where it says nothing of its class."""
    kind = node.get("type")
    if not isinstance(kind, str):
        raise _wrong(f"{where}.type", f"node {node_id[:100]} has no class")
    values = node.get("widgets_values")
    title = node.get("title")
    mode = node.get("mode")
    return SavedNode(
        node_id,
        _RENAMED.get(kind, kind),
        title if isinstance(title, str) else "",
        next((known for known in (MUTED, BYPASSED) if mode == known), 0),
        tuple(_mappings(node.get("inputs"))),
        tuple(_mappings(node.get("outputs"))),
        values if isinstance(values, list | Mapping) else None,
        mapping(node.get("properties")),
    )


def _links(found: Iterable[Any]) -> Iterator[tuple[str, Link]]:
    """Yield the links by their ids; an entry that is none is passed over, as the frontend does."""
    for link in found:
        if isinstance(link, list) and len(link) >= 5:
            parts = link[:5]
        elif isinstance(link, Mapping):
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            parts = [link.get(key) for key in keys]
        else:
            continue
        link_id, origin, origin_slot, target, target_slot = parts
        yield (
            str(link_id),
            Link(str(origin), slot_number(origin_slot), str(target), slot_number(target_slot)),
        )


def _ports(found: Any) -> Iterator[Port]:
    for port in map(mapping, found if isinstance(found, list) else ()):
        links = port.get("linkIds")
        ids = tuple(dict.fromkeys(map(str, links))) if isinstance(links, list) else ()
        yield Port(str(port.get("name")), kind_of(port), ids)


def kind_of(slot: Mapping[str, Any]) -> str:
    """Return the type of a slot; the wildcard is `*`."""
    kind = slot.get("type")
    return str(kind) if kind not in (None, "", 0, -1) else "*"


def slot_number(value: Any) -> int:
    """Return which slot a link means; -1 for none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    is_slot = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return int(value) if is_slot else -1


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (
        (one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else iter(())
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(where, "it is not a list")
    return value


def _wrong(where: str, sentence: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"{where}: {sentence}.",
        hint="Send the file as the canvas saves it (Workflow > Save), or in API format.",
        location=where,
    )
