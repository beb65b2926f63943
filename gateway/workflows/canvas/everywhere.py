"""Links that a custom node (cg-use-everywhere) draws without wires, and notes in the file."""

from __future__ import annotations

import dataclasses
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
    for number, link in enumerate(map(mapping, noted if isinstance(noted, list) else ())):
        target = sheet.nodes.get(str(link.get("downstream")))
        origin = str(link.get("upstream"))
        slot = slot_number(link.get("downstream_slot"))
        if target is None or origin not in sheet.nodes or not 0 <= slot < len(target.inputs):
            continue
        if target.inputs[slot].get("link") is None:
            link_id = f"everywhere-{number}"
            given = slot_number(link.get("upstream_slot"))
            sheet.links[link_id] = Link(origin, given, target.id, slot)
            sheet.nodes[target.id] = _linked(target, slot, link_id)


def _linked(node: SavedNode, slot: int, link_id: str) -> SavedNode:
    inputs = [*node.inputs]
    inputs[slot] = {**inputs[slot], "link": link_id}
    return dataclasses.replace(node, inputs=tuple(inputs))
