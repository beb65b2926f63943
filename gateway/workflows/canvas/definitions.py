"""Node classes as `/object_info` defines them: their inputs, and in which order they are shown.

The facts are those of the official frontend, 1.27: which types are widgets, and what it adds to
classes that take or show media.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
_MEDIA_FLAGS = ("image_upload", "video_upload", "animated_image_upload")
#: Inputs that have a control whatever their definition says.
SEEDS = ("seed", "noise_seed")


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
    def has_widget_type(self) -> bool:
        """Whether inputs of its type have widgets."""
        return self.type in _WIDGETS

    @property
    def is_widget(self) -> bool:
        """Whether it has a widget."""
        return self.widget_type in _WIDGETS and not self.is_forced

    @property
    def is_controlled(self) -> bool:
        """Whether a second widget says what becomes of its value after a run."""
        found = self.options.get("control_after_generate")
        return bool(self.name in SEEDS if found is None else found)


@dataclass(frozen=True, slots=True)
class NodeClass:
    """A class of `/object_info`."""

    name: str
    title: str
    #: Inputs in the order of the definition.
    inputs: tuple[Input, ...]
    #: Inputs in the order in which the canvas shows them.
    ordered: tuple[Input, ...]
    outputs: tuple[str, ...]


def read(name: str, definition: Mapping[str, Any]) -> NodeClass:
    """Return a class; what makes no sense in its definition is passed over."""
    inputs = tuple(_inputs(name, definition))
    title = definition.get("display_name")
    return NodeClass(
        name,
        title if isinstance(title, str) and title else name,
        inputs,
        tuple(_ordered(inputs, definition)),
        tuple(_outputs(definition)),
    )


def fields(groups: Any, prefix: str = "") -> Iterator[Input]:
    """Yield the inputs of {required, optional}."""
    found = mapping(groups)
    for group in ("required", "optional"):
        for key, spec in mapping(found.get(group)).items():
            yield _input(f"{prefix}{key}", spec, is_optional=group == "optional")


def _inputs(name: str, definition: Mapping[str, Any]) -> Iterator[Input]:
    groups = mapping(definition.get("input"))
    own = mapping(groups.get("required"))
    required = {**own, **_added(name, own)} if "required" in groups else own
    optional = mapping(groups.get("optional"))
    for key, spec in {**required, **optional}.items():
        yield _input(key, spec, is_optional=key in optional or key not in own)


def _input(name: str, spec: Any, *, is_optional: bool = False) -> Input:
    kind = spec[0] if isinstance(spec, list | tuple) and spec else None
    options = mapping(spec[1]) if kind is not None and len(spec) > 1 else {}
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
    media = next((key for key, spec in required.items() if is_media(_input(key, spec))), None)
    if media is not None:
        found["upload"] = ["IMAGEUPLOAD", {}]
    audio = _input("audio", required.get("audio"))
    if audio.options.get("audio_upload") is True:
        found["upload"] = ["AUDIOUPLOAD", {}]
    return found


def is_media(found: Input) -> bool:
    """Whether an input lists files that can be uploaded."""
    return found.type == "COMBO" and any(found.options.get(flag) is True for flag in _MEDIA_FLAGS)


def _ordered(inputs: tuple[Input, ...], definition: Mapping[str, Any]) -> list[Input]:
    """Return the inputs as `input_order` has them, those that it leaves out at the end."""
    order = mapping(definition.get("input_order"))
    by_name = {found.name: found for found in inputs}
    optional = mapping(mapping(definition.get("input")).get("optional"))
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


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object; an empty one where something else stands."""
    return value if isinstance(value, Mapping) else {}
