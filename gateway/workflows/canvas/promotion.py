"""Widgets that a subgraph shows of its inner nodes, on each node that stands for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.workflows.canvas.document import INPUTS, Port, Sheet
from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.nodes import Node, Widget


def promote(levels: Mapping[str, Level]) -> None:
    """Give the nodes that stand for subgraphs their widgets, with the values of the file."""
    for sheet_id in _inner_first(levels):
        for node in levels[sheet_id].nodes.values():
            if node.sheet is not None:
                _promote(node, node.sheet, levels[node.sheet.id])


def hand_down(levels: Mapping[str, Level]) -> None:
    """Write the values of such widgets into the inner nodes, as the frontend does to send them.

    What counts is still the value of each node that stands for the subgraph; this is for inputs
    that are linked to something that gives nothing.
    """
    for sheet_id in reversed(_inner_first(levels)):
        for node in levels[sheet_id].nodes.values():
            if node.sheet is None:
                continue
            level = levels[node.sheet.id]
            for index, port in enumerate(node.sheet.inputs):
                shown = node.widget(port.name)
                for inner in _connected(level, port, index) if shown is not None else ():
                    inner.value = shown.value if shown is not None else inner.value


def _promote(node: Node, sheet: Sheet, level: Level) -> None:
    for index, port in enumerate(sheet.inputs):
        inner = next(_connected(level, port, index), None)
        if inner is None:
            continue
        node.slots[index].widget = port.name
        node.widgets.append(Widget(port.name, inner.value, is_sent=False))
    values = node.saved.values if node.saved else None
    if isinstance(values, Mapping):
        values = [values.get(widget.name, widget.value) for widget in node.widgets]
    for widget, value in zip(node.widgets, values or (), strict=False):
        widget.value = value


def _connected(level: Level, port: Port, index: int) -> Iterator[Widget]:
    """Yield the widgets of inner nodes that an input of the subgraph is linked to."""
    found = [level.links[link] for link in port.links if link in level.links]
    if not port.links:
        links = level.links.values()
        found = [link for link in links if link.origin == INPUTS and link.origin_slot == index]
    for link in found:
        target = level.nodes.get(link.target)
        if target is None:
            continue
        slot = next((one for one in target.slots if level.links.get(one.link or "") is link), None)
        widget = target.widget(slot.widget) if slot is not None else None
        if widget is not None:
            yield widget


def _inner_first(levels: Mapping[str, Level]) -> list[str]:
    """Return the sheets in an order in which each comes after those that it contains."""
    found: dict[str, None] = {}
    entered: set[str] = set()
    for start in levels:
        waiting = [(start, False)]
        while waiting:
            sheet_id, is_done = waiting.pop()
            if is_done:
                found[sheet_id] = None
            elif sheet_id not in entered:
                entered.add(sheet_id)
                inner = {node.sheet.id for node in levels[sheet_id].nodes.values() if node.sheet}
                waiting += [(sheet_id, True), *((one, False) for one in inner)]
    return list(found)
