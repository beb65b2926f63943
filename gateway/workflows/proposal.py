"""A manifest proposed for a graph: what in it is worth a parameter; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway import graph
from gateway.workflows import values
from gateway.workflows.sampling import samplers
from gateway.workflows.sampling.conditioning import TEXTS
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Kind, Parameter

_LARGEST_SIZE = 16384
_GRAIN = 8


@dataclass(frozen=True)
class Proposed:
    """A parameter that is proposed, and what there is to say to who reads it."""

    parameter: Parameter
    #: What stands in the file.
    value: Any = None
    remark: str = ""
    #: What tells it from others of its kind: the LoRA that a strength is of.
    kin: Any = None


#: Setting of a sampler -> type, range and description of its parameter.
_SETTINGS: dict[str, Parameter] = {
    one.name: one
    for one in (
        Parameter("prompt", "string", description="What is to be seen."),
        Parameter("negative_prompt", "string", description="What is not to be seen."),
        Parameter(
            "seed", "seed", default="random", description="The same seed makes the same again."
        ),
        Parameter("steps", "integer", min=1, max=100, description="Steps of the sampler."),
        Parameter(
            "cfg", "float", min=0, max=100, description="How strictly the prompt is followed."
        ),
        Parameter("sampler", "string", description="One of ComfyUI's samplers, as euler."),
        Parameter("scheduler", "string", description="One of ComfyUI's schedulers, as normal."),
        Parameter(
            "denoise", "float", min=0, max=1, description="How much is made anew; 1 is all of it."
        ),
        *(
            Parameter(
                name,
                "integer",
                min=16,
                max=_LARGEST_SIZE,
                multiple_of=_GRAIN,
                description=f"{name.capitalize()} in pixels.",
            )
            for name in samplers.SIZES
        ),
    )
}

#: Inputs that are worth a parameter wherever they stand, and what they are.
_INPUTS: dict[str, Parameter] = {
    **dict.fromkeys(("prompt", "prompt_text"), _SETTINGS["prompt"]),
    "negative_prompt": _SETTINGS["negative_prompt"],
    **dict.fromkeys(("seed", "noise_seed"), _SETTINGS["seed"]),
    "steps": _SETTINGS["steps"],
    "width": _SETTINGS["width"],
    "height": _SETTINGS["height"],
    "guidance": Parameter(
        "guidance", "float", min=0, max=100, description="How strictly the prompt is followed."
    ),
    "length": Parameter("length", "integer", min=1, description="Frames, or pieces of sound."),
    "fps": Parameter("fps", "float", min=0.01, max=1000, description="Frames in a second."),
    "seconds": Parameter("seconds", "float", min=0, description="How long it is."),
    **{
        name: Parameter(name, "string", description="What is to be made.")
        for name in TEXTS
        if name != "prompt"
    },
}
_MEDIA_KINDS: dict[str, Kind] = {"image": "image", "audio": "audio", "video": "video"}
_DESCRIBED = {
    "image": "A picture to begin with.",
    "mask": "A mask: where the picture changes.",
    "audio": "A sound to begin with.",
    "video": "A video to begin with.",
}

#: Folder of models -> what one of it is called.
_MODELS = {
    "checkpoints": "checkpoint",
    "diffusion_models": "model",
    "text_encoders": "text_encoder",
    "upscale_models": "upscale_model",
    "style_models": "style_model",
    "model_patches": "model_patch",
    "audio_encoders": "audio_encoder",
    "hypernetworks": "hypernetwork",
}
#: Loaders of custom nodes, known by the names of their inputs.
_LOADER_INPUTS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    **{f"clip_name{n}": "text_encoders" for n in ("", 1, 2, 3, 4)},
}
_WEIGHTS = re.compile(r".+\.(safetensors|sft|gguf|ckpt|pth?|bin)", re.IGNORECASE)
_STRENGTH = Parameter(
    "lora_strength", "float", min=-10, max=10, description="How much the LoRA changes."
)
_SLUG = re.compile(r"[^a-z0-9]+")
_SLUG_LENGTH = 30


def proposed(workflow: graph.Graph) -> list[Proposed]:
    """Return the parameters that a manifest of this graph may have, by names of their own."""
    found = [*_of_samplers(workflow), *_of_inputs(workflow), *_of_models(workflow)]
    kept: list[Proposed] = []
    taken = set(_silent(workflow))
    for one in found:
        places = tuple(
            place
            for place in dict.fromkeys(one.parameter.places)
            if place not in taken and _is_value(workflow, place)
        )
        if places:
            taken.update(places)
            value = workflow[places[0].node_id]["inputs"][places[0].name]
            kept.append(_fitted(replace(one, value=_rounded(value)), places))
    return _named(workflow, kept)


def _silent(workflow: graph.Graph) -> Iterator[Place]:
    """Yield the seeds that change nothing: of samplers that go on where another ended."""
    for sampler in samplers.samplers(workflow):
        if not sampler.adds_noise:
            yield from sampler.places.get("seed", ())


def _is_value(workflow: graph.Graph, place: Place) -> bool:
    """Whether there is a value: not a link, and nothing that only a node understands."""
    inputs = workflow.get(place.node_id, {}).get("inputs", {})
    return isinstance(inputs.get(place.name), str | int | float)


def _rounded(value: Any) -> Any:
    """Return a value without what the canvas's arithmetic left behind: 1.0000000000000002."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def _fitted(one: Proposed, places: tuple[Place, ...]) -> Proposed:
    """Return it with its default, and with no range that what stands in the file is outside of."""
    made = replace(one.parameter, places=places)
    if made.required or made.default is not None:
        return replace(one, parameter=made)
    if made.type in ("integer", "float") and made.max is not None and _is_above(made, one.value):
        made = replace(made, max=None)
    candidates = (
        made,
        replace(made, multiple_of=None),
        replace(made, multiple_of=None, min=None, max=None),
    )
    for candidate in candidates:
        try:
            default = values.checked(candidate, one.value)
        except values.Wrong:
            continue
        return replace(one, parameter=replace(candidate, default=default))
    remark = f"The file has {one.value!r}." if one.value != "" else one.remark
    return replace(one, parameter=candidates[-1], remark=remark)


def _is_above(made: Parameter, value: Any) -> bool:
    return made.max is not None and isinstance(value, int | float) and value > made.max


# The samplers


def _of_samplers(workflow: graph.Graph) -> Iterator[Proposed]:
    found = samplers.samplers(workflow)
    for setting in _ORDER:
        groups: dict[Any, list[Place]] = {}
        for sampler in found:
            for place in _places(sampler, setting):
                if _is_value(workflow, place):
                    value = workflow[place.node_id]["inputs"][place.name]
                    groups.setdefault((type(value), value), []).append(place)
        counted = [place for sampler in found for place in sampler.counted]
        for places in groups.values():
            remark = _counted(counted) if setting == "steps" and counted else ""
            yield Proposed(replace(_SETTINGS[setting], places=tuple(places)), remark=remark)


#: What one changes most comes first.
_ORDER = (
    *("prompt", "negative_prompt", "seed", "steps", "cfg", "sampler", "scheduler"),
    *("denoise", "width", "height"),
)


def _places(sampler: samplers.Sampler, setting: str) -> Iterable[Place]:
    # The size of a later stage follows from the first.
    is_later = setting in samplers.SIZES and sampler.before is not None
    return () if is_later else sampler.places.get(setting, ())


def _counted(places: Sequence[Place]) -> str:
    told = ", ".join(f"{place.node_id}.inputs.{place.name}" for place in dict.fromkeys(places))
    return f"It leaves these as they are: {told}."


# Other inputs


def _of_inputs(workflow: graph.Graph) -> Iterator[Proposed]:
    for node_id, node in workflow.items():
        for name, value in node.get("inputs", {}).items():
            place = Place(node_id, name)
            if name in graph.MEDIA_INPUTS and isinstance(value, str):
                yield from _media(node["class_type"], place, value)
            elif name in _INPUTS and _fits(_INPUTS[name], value):
                yield Proposed(replace(_INPUTS[name], places=(place,)))


def _fits(parameter: Parameter, value: Any) -> bool:
    if parameter.type == "string":
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _media(class_type: str, place: Place, value: str) -> Iterator[Proposed]:
    kind = _MEDIA_KINDS.get(place.name)
    if place.name == "file" and "video" in class_type.lower():
        kind = "video"
    if kind == "image" and "mask" in class_type.lower():
        kind = "mask"
    if kind is not None:
        remark = f"The file has {value!r}." if value else ""
        made = Parameter(kind, kind, required=True, description=_DESCRIBED[kind], places=(place,))
        yield Proposed(made, remark=remark)


# Models


def _of_models(workflow: graph.Graph) -> Iterator[Proposed]:
    for node_id, node in workflow.items():
        inputs = node.get("inputs", {})
        for name in inputs:
            folder = _folder(node["class_type"], name, inputs[name])
            if folder is None:
                continue
            yield Proposed(_model(folder, Place(node_id, name)))
            if folder == "loras":
                yield from _strengths(node_id, inputs)


def _folder(class_type: str, name: str, value: Any) -> str | None:
    known = graph.MODEL_INPUTS.get(class_type)
    if known is not None:
        folder = known.get(name)
        return None if folder == "configs" else folder
    if isinstance(value, str) and _WEIGHTS.fullmatch(value):
        return _LOADER_INPUTS.get(name)
    return None


def _model(folder: str, place: Place) -> Parameter:
    if folder == "loras":
        told = 'A LoRA by name or URL; "None" takes it out.'
        return Parameter("lora", "lora", description=told, places=(place,))
    name = _MODELS.get(folder, folder)
    told = f"A model of the folder {folder}, by name or URL."
    return Parameter(name, "model", folder=folder, description=told, places=(place,))


def _strengths(node_id: str, inputs: Mapping[str, Any]) -> Iterator[Proposed]:
    names = [name for name in ("strength_model", "strength_clip") if name in inputs]
    if len({inputs[name] for name in names if isinstance(inputs[name], int | float)}) == 1:
        places = tuple(Place(node_id, name) for name in names)
        yield Proposed(replace(_STRENGTH, places=places), kin=inputs["lora_name"])
        return
    for name in names:
        word = "" if name == "strength_model" else "_clip"
        made = replace(_STRENGTH, name=f"lora_strength{word}", places=(Place(node_id, name),))
        yield Proposed(made, kin=inputs["lora_name"])


# Names


def _named(workflow: graph.Graph, found: Sequence[Proposed]) -> list[Proposed]:
    """Return them with names of their own: told apart by the nodes' titles, else by numbers."""
    groups: dict[str, list[Proposed]] = {}
    for one in found:
        groups.setdefault(one.parameter.name, []).append(one)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for name, group in groups.items():
        for one, wanted in zip(group, _wanted(workflow, name, group), strict=True):
            names[id(one)] = _free(wanted, taken)
    return [replace(one, parameter=replace(one.parameter, name=names[id(one)])) for one in found]


def _wanted(workflow: graph.Graph, name: str, group: Sequence[Proposed]) -> list[str]:
    if len(group) > 1:
        slugs = [_slug(workflow, one.parameter.places[0].node_id) for one in group]
        if all(slugs) and len(set(slugs)) == len(slugs):
            return [slug if name in slug else f"{slug}_{name}" for slug in slugs]
        levels = [_level(one.kin or one.value) for one in group]
        if set(levels) == {"high", "low"} and len(group) == 2:
            return [f"{name}_{level}" for level in levels]
    return [name] * len(group)


def _level(value: Any) -> str:
    """Return which of the two models of a workflow a file is for, as its name tells."""
    told = [level for level in ("high", "low") if f"{level}_noise" in str(value).lower()]
    return told[0] if len(told) == 1 else ""


def _slug(workflow: graph.Graph, node_id: str) -> str:
    meta = workflow[node_id].get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    slug = _SLUG.sub("_", title.lower()).strip("_") if isinstance(title, str) else ""
    return slug if len(slug) <= _SLUG_LENGTH and not slug[:1].isdigit() else ""


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
