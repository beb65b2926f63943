"""PrimitiveNode: one value, written into the widgets that it is linked to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from gateway.workflows.canvas import values
from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.nodes import PRIMITIVE, Node, Widget
from gateway.workflows.canvas.shapes import NOTHING, WidgetClass
from gateway.workflows.canvas.text import Texts

_REPLACES = "Run widget replace on values"
_NUMBERS = ("INT", "FLOAT")
_LARGEST = 2**53


def apply(level: Level, texts: Texts) -> None:
    """Write the values of a level's primitives into the widgets that they are linked to."""
    if not any(node.type == PRIMITIVE for node in level.nodes.values()):
        return
    targets: dict[str, list[Widget]] = defaultdict(list)
    for origin, widget in _linked(level):
        targets[origin].append(widget)
    for node in level.nodes.values():
        if node.type == PRIMITIVE and targets[node.id]:
            _write(node, targets[node.id], texts)


def _linked(level: Level) -> Iterator[tuple[str, Widget]]:
    """Yield the widgets whose inputs are linked, each with the node that the link comes from."""
    for target in level.nodes.values():
        for slot in target.slots:
            link = level.links.get(slot.link) if slot.link is not None else None
            widget = target.widget(slot.widget) if link is not None else None
            if link is not None and widget is not None:
                yield link.origin, widget


def _write(node: Node, targets: list[Widget], texts: Texts) -> None:
    value = _value(node, targets)
    if value is NOTHING:
        return
    if isinstance(value, str) and node.properties.get(_REPLACES):
        value = texts.filled(value)
    value = _within(value, [found.shape for found in targets if found.shape is not None])
    for widget in targets:
        widget.value = value if widget.shape is None else _stepped(value, widget.shape)


def _value(node: Node, targets: list[Widget]) -> Any:
    saved = node.saved.values if node.saved else None
    if isinstance(saved, list) and saved:
        return saved[0]
    # It was never given one: it shows that of the first widget that it is linked to.
    return targets[0].value


def _within(value: Any, shapes: list[WidgetClass]) -> Any:
    """Return a number within the ranges of all widgets that it is for, as far as they meet."""
    number = _number(value)
    if number is None or not shapes or shapes[0].type not in _NUMBERS:
        return value
    low, high = -math.inf, math.inf
    for shape in shapes:
        fewest, most = _limit(shape, "min", -math.inf), _limit(shape, "max", math.inf)
        if fewest <= high and most >= low:
            low, high = max(low, fewest), min(high, most)
    # What is within stays as it is: a large seed is no number that could be calculated with.
    return number if low <= number <= high else low if number < low else high


def _stepped(value: Any, shape: WidgetClass) -> Any:
    """Return a value as a widget rounds it when it is written into."""
    number = _number(value)
    if number is None or shape.type not in _NUMBERS:
        return values.held(shape, value)
    if abs(number) >= _LARGEST:
        # What is so large has no digits that could be rounded.
        return number
    step = _limit(shape, "step", 1 if shape.type == "INT" else 0.5) or 1
    if shape.type == "FLOAT":
        return _rounded(number, step, shape)
    if isinstance(number, int) and step == 1:
        return number
    offset = math.fmod(_limit(shape, "min", 0), step)
    return _whole(math.floor((number - offset) / step + 0.5) * step + offset)


def _rounded(number: float, step: float, shape: WidgetClass) -> float:
    places = max(0, -math.floor(math.log10(step))) if step > 0 else 0
    unit = shape.options.get("round")
    if not unit:
        unit = 10**-places if places else 0
    if isinstance(unit, bool) or not isinstance(unit, int | float) or unit <= 0:
        return number
    # Halves go up, as JavaScript rounds.
    shown = math.floor(number / unit + 0.5) * unit
    return _whole(math.floor(shown * 10**places + 0.5) / 10**places)


def _number(value: Any) -> int | float | None:
    """Return a value as a number, as JavaScript takes it; None where it is none."""
    if value is None or isinstance(value, bool):
        return int(bool(value))
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _limit(shape: WidgetClass, name: str, otherwise: float) -> float:
    found: Any = shape.options.get(name)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and math.isfinite(found) else otherwise


def _whole(number: float) -> int | float:
    return int(number) if float(number).is_integer() else number
