"""Node classes as the canvas shows them: slots, widgets, and which saved value belongs to which.

The facts are those of the official frontend, 1.27: which types are widgets, and what it adds to
classes that take or show media.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: No value at all: what JavaScript leaves out of JSON.
NOTHING: Final = object()

#: Widgets that hold what only a browser can make, when it sends the workflow.
CAPTURED = frozenset(("AUDIO_RECORD", "LOAD_3D", "LOAD_3D_ANIMATION", "WEBCAM"))
#: Types that the frontend shows as widgets; every other type is a socket.
_WIDGETS = CAPTURED | frozenset(
    (
        *("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "MARKDOWN", "TEXTAREA", "COLOR", "CHART"),
        *("FILEUPLOAD", "GALLERIA", "IMAGECOMPARE", "MULTISELECT", "SELECTBUTTON", "TREESELECT"),
        *("IMAGEUPLOAD", "AUDIOUPLOAD", "AUDIO_UI", "PREVIEW_3D", "PREVIEW_3D_ANIMATION"),
    )
)
_SHOWS_AUDIO = frozenset(
    ("LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus")
)
_SHOWS_3D = {
    "SaveGLB": "PREVIEW_3D",
    "Preview3D": "PREVIEW_3D",
    "Preview3DAnimation": "PREVIEW_3D_ANIMATION",
}
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
_MEDIA_FLAGS = ("image_upload", "video_upload", "animated_image_upload")
_SEEDS = ("seed", "noise_seed")


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a class, as `/object_info` has it."""

    name: str
    type: str
    options: Mapping[str, Any]
    is_optional: bool = False

    @property
    def is_forced(self) -> bool:
        """Whether it is a socket although its type is that of a widget."""
        return bool(self.options.get("forceInput"))

    @property
    def widget_type(self) -> str:
        """The type of the widget that it would have."""
        return str(self.options.get("widgetType") or self.type)

    @property
    def is_widget(self) -> bool:
        """Whether it has a widget."""
        return self.widget_type in _WIDGETS and not self.is_forced

    @property
    def is_controlled(self) -> bool:
        """Whether a second widget says what becomes of its value after a run."""
        found = self.options.get("control_after_generate")
        return bool(self.name in _SEEDS if found is None else found)


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


@dataclass(frozen=True, slots=True)
class SlotClass:
    """An input slot of a class; `widget` is the widget that it belongs to."""

    name: str
    type: str
    widget: str | None = None


@dataclass(frozen=True, slots=True)
class NodeShape:
    """A class as the canvas shows it."""

    name: str
    title: str
    #: Inputs in the order of the definition, whether they have a widget or not.
    inputs: tuple[Input, ...]
    slots: tuple[SlotClass, ...]
    widgets: tuple[WidgetClass, ...]
    outputs: tuple[str, ...]

    @property
    def saved_widgets(self) -> tuple[WidgetClass, ...]:
        """Those that `widgets_values` has a place for, in its order."""
        return tuple(widget for widget in self.widgets if widget.is_saved)


def shape(name: str, definition: Mapping[str, Any]) -> NodeShape:
    """Return how the canvas shows a class of `/object_info`."""
    inputs = tuple(_inputs(name, definition))
    ordered = _ordered(inputs, definition)
    widgets = [widget for found in ordered if found.is_widget for widget in _widgets(found)]
    if name == "PreviewAny":
        widgets.append(WidgetClass("preview", "STRING", "", is_saved=False, is_text=True))
    sockets = [SlotClass(found.name, found.type) for found in ordered if not found.is_widget]
    slots = [
        SlotClass(found.name, found.type, found.name)
        for found in ordered
        if found.is_widget and not found.options.get("socketless")
    ]
    return NodeShape(
        name,
        str(definition.get("display_name") or name),
        inputs,
        (*sockets, *slots),
        tuple(widgets),
        tuple(_outputs(definition)),
    )


def _inputs(name: str, definition: Mapping[str, Any]) -> Iterator[Input]:
    groups = _mapping(definition.get("input"))
    own = _mapping(groups.get("required"))
    required = {**own, **_added(name, own)} if "required" in groups else own
    optional = _mapping(groups.get("optional"))
    for key, spec in {**required, **optional}.items():
        yield _input(key, spec, is_optional=key in optional or key not in own)


def _input(name: str, spec: Any, *, is_optional: bool = False) -> Input:
    kind = spec[0] if isinstance(spec, list | tuple) and spec else None
    options = _mapping(spec[1]) if kind is not None and len(spec) > 1 else {}
    if isinstance(kind, list):
        return Input(name, "COMBO", {**options, "options": kind}, is_optional)
    return Input(name, kind if isinstance(kind, str) else "UNKNOWN", options, is_optional)


def _added(name: str, required: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that the frontend itself adds to a class."""
    found: dict[str, Any] = {}
    if name in _SHOWS_AUDIO:
        found["audioUI"] = ["AUDIO_UI", {}]
    if name in _SHOWS_3D:
        found["image"] = [_SHOWS_3D[name]]
    media = next((key for key, spec in required.items() if _is_media(_input(key, spec))), None)
    if media is not None:
        found["upload"] = ["IMAGEUPLOAD", {}]
    audio = _input("audio", required.get("audio"))
    if audio.options.get("audio_upload") is True:
        found["upload"] = ["AUDIOUPLOAD", {}]
    return found


def _is_media(found: Input) -> bool:
    return found.type == "COMBO" and any(found.options.get(flag) is True for flag in _MEDIA_FLAGS)


def _ordered(inputs: tuple[Input, ...], definition: Mapping[str, Any]) -> list[Input]:
    """Return the inputs as `input_order` has them, those that it leaves out at the end."""
    order = _mapping(definition.get("input_order"))
    by_name = {found.name: found for found in inputs}
    optional = _mapping(_mapping(definition.get("input")).get("optional"))
    found: dict[str, Input] = {}
    for group, is_optional in (("required", False), ("optional", True)):
        names = order.get(group)
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str) and name in by_name and (name in optional) is is_optional:
                found[name] = by_name[name]
    return [*found.values(), *(one for one in inputs if one.name not in found)]


def _outputs(definition: Mapping[str, Any]) -> Iterator[str]:
    outputs = definition.get("output")
    for kind in outputs if isinstance(outputs, list | tuple) else ():
        yield "COMBO" if isinstance(kind, list) else str(kind)


def _widgets(found: Input) -> Iterator[WidgetClass]:
    """Yield the widgets of an input: its own, and those that the frontend puts beside it."""
    kind = found.widget_type
    if kind in ("LOAD_3D", "LOAD_3D_ANIMATION"):
        for name, value in _BUTTONS_3D.items():
            yield WidgetClass(name, "button", value)
    yield _widget(found, kind)
    if kind == "INT" and found.is_controlled:
        yield _control("control_after_generate")
    if kind == "COMBO" and not found.options.get("multi_select"):
        yield from _beside_combo(found)


def _beside_combo(found: Input) -> Iterator[WidgetClass]:
    remote = found.options.get("remote")
    if remote:
        yield WidgetClass("Auto-refresh after generation", "toggle", False, is_sent=False)
        if _mapping(remote).get("refresh_button"):
            yield WidgetClass("refresh", "button", "refresh")
    if found.options.get("control_after_generate"):
        yield _control("control_after_generate")
        yield _control("control_filter_list")


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
        is_file=_is_media(found),
        is_optional=found.is_optional,
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


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
