"""The flags of `gateway generate` as values of a workflow's parameters, by their names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.cli import file_edits
from gateway.cli.failure import CommandFailed
from gateway.cli.flags import OPTIONS, Flags

#: What a sampler is told -> names that parameters of that meaning have.
_NAMES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "positive_prompt", "positive", "text"),
    "negative_prompt": ("negative_prompt", "negative"),
    "seed": ("seed", "noise_seed"),
    "cfg": ("cfg", "cfg_scale", "guidance"),
    "sampler": ("sampler", "sampler_name"),
}
_IMAGES = ("image", "input_image")
#: Types, in the words of JSON Schema, whose values are written as JSON.
_JSON = {"integer", "number", "boolean", "array", "object", "null", "seed"}


@dataclass(frozen=True)
class Asked:
    """A parameter, as much as tells how its value is written."""

    name: str
    #: string, integer, ..., or `x-type` where the schema has one.
    kind: str
    choices: Sequence[Any] = ()


def of_schema(schema: Mapping[str, Any]) -> list[Asked]:
    """Return the parameters that a JSON Schema of `input` describes."""
    return [_asked(name, said) for name, said in schema.get("properties", {}).items()]


def _asked(name: str, said: Mapping[str, Any]) -> Asked:
    kinds = said.get("type")
    if kinds is None:
        # A pydantic field that may be None: {"anyOf": [{"type": "integer"}, {"type": "null"}]}.
        kinds = [one.get("type") for one in said.get("anyOf", ())]
    known = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    kind = said.get("x-type") or next(filter(None, known), "")
    return Asked(name, kind, said.get("enum", ()))


def values(asked: Sequence[Asked], flags: Flags) -> dict[str, Any]:
    """Return what the flags give, less pictures; raises CommandFailed for what fits nothing."""
    known = {one.name: one for one in asked}
    found: dict[str, Any] = {}
    for setting, value in flags.settings.items():
        name = _named(setting, known)
        if name is None:
            raise CommandFailed(
                f"The workflow has no parameter for {OPTIONS[setting]}.", hint=_hint(known)
            )
        found[name] = value
    for assignment in flags.values:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise CommandFailed(
                f"--set {assignment!r} is not NAME=VALUE.", hint="For example: --set steps=20"
            )
        if name not in known:
            raise CommandFailed(f"The workflow has no parameter {name!r}.", hint=_hint(known))
        if name in found:
            raise CommandFailed(f"{name} is given twice.")
        found[name] = _value(known[name], text)
    return found


def images(asked: Sequence[Asked], flags: Flags) -> dict[str, str]:
    """Return which parameter each `--input-image` is for; raises CommandFailed."""
    known = {one.name: one for one in asked}
    places: dict[str, str] = {}
    for image in flags.images:
        name, equals, source = image.partition("=")
        if not equals or name not in known:
            name, source = _image(known, image), image
        if name in places:
            raise CommandFailed(f"{name} was given two images.")
        if any(one.partition("=")[0] == name for one in flags.values):
            raise CommandFailed(f"{name} is given twice.")
        places[name] = source
    return places


def _named(setting: str, known: Collection[str]) -> str | None:
    return next((name for name in _NAMES.get(setting, (setting,)) if name in known), None)


def _image(known: Mapping[str, Asked], image: str) -> str:
    pictures = [one.name for one in known.values() if one.kind == "image"]
    named = [name for name in _IMAGES if name in known]
    if named or len(pictures) == 1:
        return (named or pictures)[0]
    if not pictures:
        raise CommandFailed("The workflow takes no image.", hint=_hint(known))
    raise CommandFailed(
        f"The workflow takes several images: {', '.join(pictures)}.",
        hint=f"Say which: --input-image {pictures[0]}={image}",
    )


def _value(asked: Asked, text: str) -> Any:
    """Return what a text stands for; what it cannot be is left to the gateway to refuse."""
    chosen = [choice for choice in asked.choices if str(choice) == text]
    if chosen:
        return chosen[0]
    return file_edits.value(text, None if asked.kind in _JSON else "")


def _hint(known: Collection[str]) -> str:
    if not known:
        return "It has none at all; `gateway workflows new` proposes a manifest for a file."
    return f"Its parameters: {', '.join(known)}. Each may be given by --set NAME=VALUE."
