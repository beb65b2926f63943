"""Widgets that a subgraph shows of its inner nodes, on each node that stands for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.workflows.canvas.document import INPUTS, Port, Sheet
from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.nodes import Node, Widget
from gateway.workflows.canvas.shapes import NOTHING
from gateway.workflows.canvas.values import held


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
                if shown is not None:
                    for inner in _widgets(_targets(level, port, index)):
                        inner.value = shown.value


def _promote(node: Node, sheet: Sheet, level: Level) -> None:
    for index, port in enumerate(sheet.inputs):
        targets = list(_targets(level, port, index))
        inner = next(_widgets(targets), None)
        if inner is not None:
            node.slots[index].widget = port.name
            node.widgets.append(Widget(port.name, inner.value, is_sent=False, shape=inner.shape))
        elif any(_had_widget(target, link_id) for target, link_id in targets):
            # Its class has it no longer; the values after it are still where they were.
            node.widgets.append(Widget("", NOTHING, is_sent=False))
    values = node.saved.values if node.saved else None
    if isinstance(values, Mapping):
        values = [values.get(widget.name, widget.value) for widget in node.widgets]
    for widget, value in zip(node.widgets, values or (), strict=False):
        widget.value = value if widget.shape is None else held(widget.shape, value)


def _targets(level: Level, port: Port, index: int) -> Iterator[tuple[Node, str]]:
    """Yield the inner nodes that an input of the subgraph is linked to, and by which link."""
    ids = port.links or tuple(
        link_id
        for link_id, link in level.links.items()
        if link.origin == INPUTS and link.origin_slot == index
    )
    for link_id in ids:
        link = level.links.get(link_id)
        target = level.nodes.get(link.target) if link is not None else None
        if target is not None:
            yield target, link_id


def _widgets(targets: Iterable[tuple[Node, str]]) -> Iterator[Widget]:
    # By the slot that has the link, and not by the number in the link: that one is of the file,
    # which leaves out slots that the class has.
    for target, link_id in targets:
        slot = next((slot for slot in target.slots if slot.link == link_id), None)
        widget = target.widget(slot.widget) if slot is not None else None
        if widget is not None:
            yield widget


def _had_widget(target: Node, link_id: str) -> bool:
    saved = target.saved.inputs if target.saved else ()
    return any(str(slot.get("link")) == link_id and bool(slot.get("widget")) for slot in saved)


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
