"""The sheets of a file, with every node as the canvas would show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.workflows.canvas import definitions, everywhere, nodes, shapes
from gateway.workflows.canvas.definitions import NodeClass
from gateway.workflows.canvas.document import OUTPUTS, Document, Link, SavedNode, Sheet
from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.groups import Groups, Opening
from gateway.workflows.canvas.nodes import Node
from gateway.workflows.canvas.shapes import NodeShape


def levels(document: Document, object_info: Mapping[str, Any]) -> dict[str, Level]:
    """Return the sheets by their ids; that of the workflow itself is empty."""
    everywhere.join(document.root, document.extra)
    reader = _Reader(document, object_info)
    sheets = {"": document.root, **document.subgraphs}
    return {sheet_id: reader.level(sheet) for sheet_id, sheet in sheets.items()}


class _Refused(Exception):
    """A node cannot be read; the argument says why."""


class _Reader:
    """Reads nodes, each by what its class is."""

    def __init__(self, document: Document, object_info: Mapping[str, Any]) -> None:
        self._subgraphs = document.subgraphs
        self._object_info = object_info
        self._classes: dict[str, NodeClass | None] = {}
        self._shapes: dict[str, NodeShape] = {}
        self._groups = Groups(document.groups, self._class)

    def level(self, sheet: Sheet) -> Level:
        """Return a sheet with its nodes."""
        found = {node_id: self._node(saved) for node_id, saved in sheet.nodes.items()}
        opening = Opening(self._groups, self._node, dict(sheet.links))
        opening.run(found)
        return Level(sheet.id, opening.nodes, opening.links, _ends(sheet, opening.links))

    def _node(self, saved: SavedNode) -> Node:
        sheet = self._subgraphs.get(saved.type)
        if sheet is not None:
            return nodes.of_subgraph(saved, sheet)
        if saved.type in nodes.VIRTUAL:
            return nodes.as_saved(saved, "virtual")
        try:
            found = self._class_of(saved)
            if found is None:
                return nodes.as_saved(saved, "unknown")
            return nodes.of_class(saved, self._shape(found, saved))
        except (_Refused, shapes.Overgrown) as refused:
            return replace(nodes.as_saved(saved, "unknown"), problem=str(refused))

    def _class_of(self, saved: SavedNode) -> NodeClass | None:
        """Return the class of a node, or that which its group node amounts to; raises _Refused."""
        group = self._groups.find(saved.type)
        if group is None:
            return self._class(saved.type)
        if isinstance(group, str):
            raise _Refused(group)
        if not self._groups.may_open(group):
            raise _Refused("the group nodes amount to more than can be sent")
        return group.node_class

    def _shape(self, found: NodeClass, saved: SavedNode) -> NodeShape:
        if shapes.depends(found, saved):
            return shapes.shape(found, saved)
        if found.name not in self._shapes:
            self._shapes[found.name] = shapes.shape(found, saved)
        return self._shapes[found.name]

    def _class(self, name: str) -> NodeClass | None:
        if name not in self._classes:
            given = self._object_info.get(name)
            found = definitions.read(name, given) if isinstance(given, Mapping) else None
            self._classes[name] = found
        return self._classes[name]


def _ends(sheet: Sheet, links: Mapping[str, Link]) -> dict[int, Link]:
    """Return the link that leads to each output of a subgraph."""
    ends: dict[int, Link] = {}
    for slot, port in enumerate(sheet.outputs):
        link = next((links[one] for one in port.links if one in links), None)
        if link is not None:
            ends[slot] = link
    for link in links.values():
        if link.target == OUTPUTS:
            ends.setdefault(link.target_slot, link)
    return ends
