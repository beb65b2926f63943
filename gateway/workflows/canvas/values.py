"""Which saved value belongs to which widget, and what a widget makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.workflows.canvas.shapes import NOTHING, NodeShape, WidgetClass

#: Values by position, or by name; None where the file has none.
Saved = list[Any] | Mapping[str, Any] | None

#: What values of a type are; a flag is none of the numbers.
_TYPES: dict[str, Any] = {
    "INT": int | float,
    "FLOAT": int | float,
    "BOOLEAN": bool,
    "STRING": str,
    "COMBO": str | Mapping,
}
_DEEPEST = 50
_CONTROL = "control_after_generate"
_CONTROLS = frozenset(("fixed", "increment", "decrement", "randomize", "increment-wrap", ""))


def misfit(saved: Saved, shape: NodeShape) -> str | None:
    """Return why the values cannot be told apart; None when they can, or there are none.

    As the frontend does, values at the end that the class has no widget for are passed over, and
    widgets that it got since have their defaults. Where there are none, or where values stand at
    places that they cannot be meant for, nobody knows which belongs where.
    """
    if not isinstance(saved, list) or not saved:
        return None
    given = _without_forced(shape, saved)
    widgets = shape.saved_widgets
    if len(given) == len(widgets):
        return None
    many = "one widget" if len(widgets) == 1 else f"{len(widgets)} widgets"
    count = f"{len(given)} saved for the {many} of its class"
    missing = widgets[len(given) :]
    unknown = [widget.name for widget in missing if not widget.has_default]
    # One new widget may have the first of its list. Were it several, it would be made up.
    if len(unknown) > (len(missing) == 1):
        return f"{count}: none for {', '.join(widget.name for widget in missing[:10])}"
    for widget, value in zip(widgets, given, strict=False):
        if not _fits(widget, value):
            return f"{count}: {_kind(value)} stands where {widget.name} ({widget.type}) is"
    return None


def notes(saved: Saved, shape: NodeShape) -> Iterator[str]:
    """Yield what is worth knowing about values that are too few or too many."""
    if not isinstance(saved, list) or len(saved) == len(shape.saved_widgets):
        return
    given = _without_forced(shape, saved)
    missing = [widget.name for widget in shape.saved_widgets[len(given) :] if widget.is_sent]
    if missing:
        yield f"the file has no value for {', '.join(missing[:10])}: the default is taken"
    rest = given[len(shape.saved_widgets) :]
    left = 0 if rows(saved, shape) else sum(value not in (None, "", {}) for value in rest)
    if left:
        many = "the last value belongs" if left == 1 else f"the last {left} values belong"
        yield f"{many} to no widget of its class"


def rows(saved: Saved, shape: NodeShape) -> list[Mapping[str, Any]]:
    """Return the LoRAs that a script of the class lists behind the widgets, each with switches."""
    if not isinstance(saved, list) or len(saved) <= len(shape.saved_widgets):
        return []
    rest = saved[len(shape.saved_widgets) :]
    return [
        value for value in rest if isinstance(value, Mapping) and {"on", "lora"} <= value.keys()
    ]


def _kind(value: Any) -> str:
    """Return what a value is; not the value, which may be a key."""
    if isinstance(value, bool):
        return "a flag"
    if isinstance(value, int | float):
        return "a number"
    return "a text" if isinstance(value, str) else "a list or an object"


def _fits(widget: WidgetClass, value: Any) -> bool:
    """Whether a value may be meant for a widget."""
    if value is None:
        return True
    if widget.type == "control":
        # Older files have a flag; scripts of classes put a button in its place, which is empty.
        return isinstance(value, bool) or widget.name != _CONTROL or str(value) in _CONTROLS
    if widget.type == "COMBO" and not isinstance(widget.default, str):
        return True
    if widget.type not in _TYPES:
        return True
    is_flag = isinstance(value, bool)
    return isinstance(value, _TYPES[widget.type]) and is_flag is (widget.type == "BOOLEAN")


def by_name(saved: Saved, shape: NodeShape) -> dict[str, Any]:
    """Return what the file has for each widget, by the widget's name."""
    if isinstance(saved, Mapping):
        if not saved or not all(name.isdecimal() or name == "length" for name in saved):
            return dict(saved)
        # A list that became an object on its way.
        saved = [saved[name] for name in saved if name != "length"]
    values = _without_forced(shape, saved or [])
    return {widget.name: value for widget, value in zip(shape.saved_widgets, values, strict=False)}


def _without_forced(shape: NodeShape, values: list[Any]) -> list[Any]:
    """Drop values of inputs that were widgets once, and are sockets now."""
    if not shape.has_forced:
        return values
    names = {widget.name for widget in shape.widgets}
    found = [one for one in shape.node_class.inputs if one.name in names or one.is_forced]
    count = sum(2 if one.is_controlled else 1 for one in found)
    if count != len(values):
        return values
    # As the frontend does: by position, also where a control stands between.
    forced = [one.is_forced for one in found] + [False] * (len(values) - len(found))
    return [value for value, is_forced in zip(values, forced, strict=True) if not is_forced]


def held(widget: WidgetClass, value: Any) -> Any:
    """Return what a widget makes of a value that it is given."""
    if widget.is_text:
        return as_text(value).replace("\r\n", "\n").replace("\r", "\n")
    if widget.is_file:
        return _file(value, widget.default)
    return value


def as_text(value: Any, depth: int = 0) -> str:
    """Return a value as JavaScript writes it; lists are written as deep as anybody needs."""
    if value is None or value is NOTHING or depth > _DEEPEST:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join(as_text(one, depth + 1) for one in value)
    return "[object Object]" if isinstance(value, Mapping) else str(value)


def _file(value: Any, default: Any) -> Any:
    """Return the name of a file, which older files of the canvas hold in parts."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, Mapping):
        name, folder = as_text(value.get("filename")), as_text(value.get("subfolder"))
        kind = value.get("type")
        tail = f" [{kind}]" if kind and kind != "input" else ""
        return f"{folder}/{name}{tail}" if folder else f"{name}{tail}"
    return value or default
