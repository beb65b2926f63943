"""Node classes as the canvas shows them: slots, widgets, and what stands beside each widget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.workflows.canvas.definitions import Input, NodeClass, fields, is_media, mapping
from gateway.workflows.canvas.document import SavedNode

#: No value at all: what JavaScript leaves out of JSON.
NOTHING: Final = object()

_BUTTONS_3D = {
    "upload 3d model": "upload3dmodel",
    "upload extra resources": "uploadExtraResources",
    "clear": "clear",
}
_DEFAULTS: dict[str, Any] = {
    "INT": 0,
    "FLOAT": 0,
    "STRING": "",
    "BOOLEAN": False,
    "MARKDOWN": "",
    "COLOR": "#000000",
    "TEXTAREA": "",
    "AUDIO_UI": "",
    "AUDIO_RECORD": "",
    "IMAGEUPLOAD": "image",
    "AUDIOUPLOAD": "",
}
#: A choice that brings inputs of its own, and an input of which there are as many as are linked.
_CHOICE, _GROWING, _MATCHING = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3", "COMFY_MATCHTYPE_V3"
_DEEPEST = 20
_MOST_GROWN = 1000
#: Inputs of a class, those within others too.
MOST_INPUTS = 5000


@dataclass(frozen=True, slots=True)
class WidgetClass:
    """A widget of a class."""

    name: str
    type: str
    default: Any = NOTHING
    #: Whether `widgets_values` has a place for it.
    is_saved: bool = True
    #: Whether it becomes an input of the prompt.
    is_sent: bool = True
    #: Whether a text field holds it, which makes a text of anything.
    is_text: bool = False
    #: Whether {one|other} in it stands for a choice.
    is_dynamic: bool = False
    #: Whether its value is a file, or several: what is uploaded through another widget.
    is_file: bool = False
    #: Whether a node may be saved without it.
    is_optional: bool = False
    #: What the definition says besides: `min`, `max`, `step`, `round`.
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_default(self) -> bool:
        """Whether the definition says what its value is when nobody says."""
        return self.is_optional or "default" in self.options


@dataclass(frozen=True, slots=True)
class SlotClass:
    """An input slot of a class; `widget` is the widget that it belongs to."""

    name: str
    type: str
    widget: str | None = None


@dataclass(frozen=True, slots=True)
class NodeShape:
    """A class as the canvas shows it."""

    node_class: NodeClass
    slots: tuple[SlotClass, ...]
    widgets: tuple[WidgetClass, ...]
    #: Those that `widgets_values` has a place for, in its order.
    saved_widgets: tuple[WidgetClass, ...]
    #: Whether it has sockets that could be widgets, and were ones perhaps.
    has_forced: bool


class Overgrown(Exception):
    """A class amounts to more inputs than any has; the argument says so."""


def shape(found: NodeClass, saved: SavedNode) -> NodeShape:
    """Return how the canvas shows a node of a class.

    Newer classes have inputs that depend on the values and links of the node. Raises Overgrown.
    """
    drawing = _Drawing(saved)
    for one in found.ordered:
        drawing.add(one)
    if found.name == "PreviewAny":
        drawing.widgets.append(WidgetClass("preview", "STRING", "", is_saved=False, is_text=True))
    return NodeShape(
        found,
        (*drawing.sockets, *drawing.slots),
        tuple(drawing.widgets),
        tuple(widget for widget in drawing.widgets if widget.is_saved),
        any(one.is_forced for one in found.inputs),
    )


def depends(found: NodeClass, saved: SavedNode) -> bool:
    """Whether a node may look otherwise than others of its class."""
    if any(one.type in (_GROWING, _CHOICE) for one in found.inputs):
        return True
    sockets = {one.name for one in found.inputs if not one.is_widget}
    return any(str(slot.get("name")) in sockets and slot.get("widget") for slot in saved.inputs)


class _Drawing:
    """Slots and widgets as they come together."""

    def __init__(self, saved: SavedNode) -> None:
        self.sockets: list[SlotClass] = []
        self.slots: list[SlotClass] = []
        self.widgets: list[WidgetClass] = []
        self._saved = saved
        self._count = 0
        self._with_widget = {
            str(slot.get("name")) for slot in saved.inputs if mapping(slot.get("widget"))
        }

    def add(self, found: Input, depth: int = 0) -> None:
        """Add an input, and those that it brings."""
        self._count += 1
        if self._count > MOST_INPUTS:
            raise Overgrown(f"its class amounts to more than {MOST_INPUTS} inputs")
        if depth < _DEEPEST and found.type == _GROWING:
            for one in _grown(found, self._saved):
                self.add(one, depth + 1)
        elif depth < _DEEPEST and found.type == _CHOICE:
            self._choice(found, depth)
        elif found.is_widget or (found.name in self._with_widget and not found.is_forced):
            # Where the file says so, a script of the class made a widget of a type of its own.
            self.widgets += _widgets(found)
            if not found.options.get("socketless"):
                self.slots.append(SlotClass(found.name, found.type, found.name))
        else:
            self.sockets.append(SlotClass(found.name, _socket_type(found)))

    def _choice(self, found: Input, depth: int) -> None:
        options = found.options.get("options")
        choices = [mapping(one) for one in (options if isinstance(options, list) else ())]
        keys = [one.get("key") for one in choices]
        chosen = self._value(found.name, keys[0] if keys else NOTHING)
        default = keys[0] if keys else NOTHING
        self.widgets.append(WidgetClass(found.name, "COMBO", default))
        self.slots.append(SlotClass(found.name, "COMBO", found.name))
        for one in choices:
            if one.get("key") == chosen:
                for inner in fields(one.get("inputs"), f"{found.name}."):
                    self.add(inner, depth + 1)
                return

    def _value(self, name: str, default: Any) -> Any:
        """Return the value of the widget that comes next."""
        values = self._saved.values
        if isinstance(values, Mapping):
            return values.get(name, default)
        place = sum(widget.is_saved for widget in self.widgets)
        return values[place] if values is not None and place < len(values) else default


def _grown(found: Input, saved: SavedNode) -> Iterator[Input]:
    """Yield the inputs that an input amounts to: one more than it needs, or as the file has."""
    template = mapping(found.options.get("template"))
    names = template.get("names")
    fewest = template.get("min")
    inner = list(fields(template.get("input")))
    linked = [str(slot.get("name")) for slot in saved.inputs]
    linked = [name for name in linked if name.startswith(f"{found.name}.")]
    count = max(fewest + 1 if isinstance(fewest, int) else 2, len(linked))
    count = min(count, len(names) if isinstance(names, list) else _MOST_GROWN, _MOST_GROWN)
    for number in range(count):
        for one in inner:
            stem = template.get("prefix") or "" if len(inner) == 1 else one.name
            own = names[number] if isinstance(names, list) else f"{stem}{number}"
            yield Input(f"{found.name}.{own}", one.type, one.options, one.is_optional)


def _socket_type(found: Input) -> str:
    if found.type == _MATCHING:
        allowed = mapping(found.options.get("template")).get("allowed_types")
        return allowed if isinstance(allowed, str) else "*"
    return found.type


def _widgets(found: Input) -> Iterator[WidgetClass]:
    """Yield the widgets of an input: its own, and those that the frontend puts beside it."""
    kind = found.widget_type
    if kind in ("LOAD_3D", "LOAD_3D_ANIMATION"):
        for name, value in _BUTTONS_3D.items():
            yield _button(name, value)
    yield _widget(found, kind)
    if kind == "INT" and found.is_controlled:
        yield _control("control_after_generate")
    if kind == "COMBO" and not found.options.get("multi_select"):
        yield from _beside_combo(found)


def _beside_combo(found: Input) -> Iterator[WidgetClass]:
    remote = found.options.get("remote")
    if remote:
        yield WidgetClass("Auto-refresh after generation", "toggle", False, is_sent=False)
        if mapping(remote).get("refresh_button"):
            yield _button("refresh", "refresh")
    if found.options.get("control_after_generate"):
        yield _control("control_after_generate")
        yield _control("control_filter_list")


def _button(name: str, value: str) -> WidgetClass:
    return WidgetClass(name, "button", value, is_optional=True)


def _control(name: str) -> WidgetClass:
    return WidgetClass(name, "control", "randomize", is_sent=False, is_optional=True)


def _widget(found: Input, kind: str) -> WidgetClass:
    options = found.options
    is_text = kind == "MARKDOWN" or (kind == "STRING" and bool(options.get("multiline")))
    return WidgetClass(
        found.name,
        kind,
        _default(found, kind),
        is_saved=kind != "AUDIO_UI",
        is_sent=kind not in ("IMAGEUPLOAD", "AUDIOUPLOAD"),
        is_text=is_text,
        is_dynamic=options.get("dynamicPrompts") is True,
        is_file=is_media(found),
        is_optional=found.is_optional,
        options=options,
    )


def _default(found: Input, kind: str) -> Any:
    given = found.options.get("default")
    if kind == "COMBO":
        return _default_choice(found, given)
    if kind in ("INT", "FLOAT", "STRING", "BOOLEAN") and given is not None:
        return given
    return _DEFAULTS.get(kind, "")


def _default_choice(found: Input, given: Any) -> Any:
    if found.options.get("multi_select"):
        return []
    choices = found.options.get("options")
    if given:
        return given
    if isinstance(choices, list) and choices:
        return choices[0]
    return "Loading..." if found.options.get("remote") else NOTHING
