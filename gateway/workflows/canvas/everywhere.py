"""Links that a custom node (cg-use-everywhere) draws without wires, and notes in the file."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from gateway.workflows.canvas.definitions import mapping
from gateway.workflows.canvas.document import Link, SavedNode, Sheet, slot_number

#: Classes that give to every input which fits; which those are, their script knows.
SENDERS = frozenset(
    (
        *("Anything Everywhere", "Anything Everywhere?", "Anything Everywhere3"),
        *("Prompts Everywhere", "Seed Everywhere"),
    )
)


def join(sheet: Sheet, extra: Mapping[str, Any]) -> None:
    """Make wires of what `extra.ue_links` notes: inputs that were linked without one."""
    noted = extra.get("ue_links")
    given: dict[str, dict[int, str]] = defaultdict(dict)
    for number, link in enumerate(map(mapping, noted if isinstance(noted, list) else ())):
        target = sheet.nodes.get(str(link.get("downstream")))
        origin = str(link.get("upstream"))
        slot = slot_number(link.get("downstream_slot"))
        if target is None or origin not in sheet.nodes or not 0 <= slot < len(target.inputs):
            continue
        if target.inputs[slot].get("link") is None and slot not in given[target.id]:
            link_id = f"everywhere-{number}"
            given[target.id][slot] = link_id
            begin = slot_number(link.get("upstream_slot"))
            sheet.links[link_id] = Link(origin, begin, target.id, slot)
    for node_id, links in given.items():
        sheet.nodes[node_id] = _linked(sheet.nodes[node_id], links)


def _linked(node: SavedNode, links: Mapping[int, str]) -> SavedNode:
    inputs = [
        {**found, "link": links[slot]} if slot in links else found
        for slot, found in enumerate(node.inputs)
    ]
    return dataclasses.replace(node, inputs=tuple(inputs))
