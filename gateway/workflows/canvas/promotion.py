"""Widgets that a subgraph shows of its inner nodes, on each node that stands for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.workflows.canvas.budget import Budget
from gateway.workflows.canvas.document import INPUTS, Sheet
from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.nodes import Node, Widget
from gateway.workflows.canvas.shapes import NOTHING
from gateway.workflows.canvas.values import held


@dataclass(frozen=True, slots=True)
class _Shown:
    """What an input of a subgraph shows: widgets of its inner nodes."""

    slot: int
    name: str
    widgets: list[Widget]


class Promotions:
    """What the subgraphs of a file show of their inner nodes."""

    def __init__(self, levels: Mapping[str, Level], budget: Budget) -> None:
        self._levels = levels
        self._budget = budget
        self._inner_first = _inner_first(levels)
        self._shown: dict[str, list[_Shown]] = {}

    def promote(self) -> None:
        """Give the nodes that stand for subgraphs their widgets, with the values of the file."""
        for sheet_id in self._inner_first:
            for node, shown in self._nodes(sheet_id):
                _promote(node, shown)

    def hand_down(self) -> None:
        """Write the values of such widgets into the inner nodes, as the frontend does to send them.

        Raises Spent.

        What counts is still the value of each node that stands for the subgraph; this is for
        inputs that are linked to something that gives nothing.
        """
        for sheet_id in reversed(self._inner_first):
            for node, shown in self._nodes(sheet_id):
                for one in shown:
                    self._budget.spend(len(one.widgets))
                    if (own := node.widget(one.name)) is not None:
                        for inner in one.widgets:
                            inner.value = own.value

    def _nodes(self, sheet_id: str) -> Iterator[tuple[Node, list[_Shown]]]:
        """Yield the nodes of a sheet that stand for subgraphs, with what these show."""
        for node in self._levels[sheet_id].nodes.values():
            if node.sheet is None:
                continue
            within = node.sheet.id
            if within not in self._shown:
                self._shown[within] = list(_shown(node.sheet, self._levels[within]))
            yield node, self._shown[within]


def _promote(node: Node, shown: Iterable[_Shown]) -> None:
    for one in shown:
        inner = next(iter(one.widgets), None)
        if inner is not None:
            node.slots[one.slot].widget = one.name
            node.widgets.append(Widget(one.name, inner.value, is_sent=False, shape=inner.shape))
        else:
            # Its class has it no longer; the values after it are still where they were.
            node.widgets.append(Widget("", NOTHING, is_sent=False))
    values = node.saved.values if node.saved else None
    if isinstance(values, Mapping):
        values = [values.get(widget.name, widget.value) for widget in node.widgets]
    for widget, value in zip(node.widgets, values or (), strict=False):
        widget.value = value if widget.shape is None else held(widget.shape, value)


def _shown(sheet: Sheet, level: Level) -> Iterator[_Shown]:
    """Yield the inputs of a subgraph that show widgets, or did."""
    entering: dict[int, list[str]] = defaultdict(list)
    for link_id, link in level.links.items():
        if link.origin == INPUTS:
            entering[link.origin_slot].append(link_id)
    ends = _Ends(level)
    for index, port in enumerate(sheet.inputs):
        link_ids = port.links or entering[index]
        widgets = [one for link_id in link_ids if (one := ends.widget(link_id)) is not None]
        if widgets or any(ends.had_widget(link_id) for link_id in link_ids):
            yield _Shown(index, port.name, widgets)


class _Ends:
    """Finds what links of a level end at.

    By the slot that has the link, and not by the number in the link: that one is of the file,
    which leaves out slots that the class has.
    """

    def __init__(self, level: Level) -> None:
        self._level = level
        self._widgets: dict[tuple[str, str], Widget] = {}
        self._had: set[tuple[str, str]] = set()
        for node_id, node in level.nodes.items():
            for slot in node.slots:
                widget = node.widget(slot.widget) if slot.link is not None else None
                if slot.link is not None and widget is not None:
                    self._widgets.setdefault((node_id, slot.link), widget)
            for saved in node.saved.inputs if node.saved else ():
                if saved.get("widget"):
                    self._had.add((node_id, str(saved.get("link"))))

    def widget(self, link_id: str) -> Widget | None:
        """Return the widget that a link ends at."""
        return self._widgets.get(self._key(link_id))

    def had_widget(self, link_id: str) -> bool:
        """Whether the file has a widget where a link ends."""
        return self._key(link_id) in self._had

    def _key(self, link_id: str) -> tuple[str, str]:
        link = self._level.links.get(link_id)
        return (link.target if link is not None else "", link_id)


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
