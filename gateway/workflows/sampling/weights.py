"""The files of weights that a node names: its models, and the LoRAs it applies; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway import graph
from gateway.workflows.sampling.links import Place, Wires

NAME_LENGTH = 1024
#: Loaders write this for no file.
NONE = ("None", "none", "")

#: Input -> folder, of loaders that the table of graphs does not know: GGUF, wrappers.
_FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "clip_vision_name": "clip_vision",
    "upscale_model_name": "upscale_models",
}
#: `lora_name`, `lora`, and those of stacks: `lora_name_2`, `lora_02`.
_LORA = re.compile(r"lora(?:_name)?(?:_(\d+))?$")
#: How nodes call the strength of a LoRA, before the number of stacks.
_STRENGTHS = ("strength_model", "strength", "lora_strength", "model_weight", "model_str", "lora_wt")
_CLIP_STRENGTHS = ("strength_clip", "clip_strength", "clip_weight", "clip_str")


@dataclass(frozen=True)
class AppliedLora:
    """A LoRA that a node applies."""

    name: str
    strength: float | None = None
    #: None where it goes to the model alone.
    strength_clip: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a record."""
        return asdict(self)


def models_of(wires: Wires, node_id: str) -> Iterator[tuple[str, str]]:
    """Yield (folder, name) of the models that a node loads."""
    known = graph.MODEL_INPUTS.get(wires.class_of(node_id), {})
    for name in wires.inputs(node_id):
        folder = known.get(name) or _FOLDERS.get(name.rstrip("0123456789"))
        value = wires.value(Place(node_id, name)) if folder else None
        if folder and isinstance(value, str) and value not in NONE:
            yield folder, value[:NAME_LENGTH]


def loras_of(wires: Wires, node_id: str) -> Iterator[AppliedLora]:
    """Yield the LoRAs that a node applies, in its order; one without strength is not applied."""
    inputs = wires.inputs(node_id)
    for name in inputs:
        match = _LORA.match(name)
        if match is None:
            continue
        found = _bundled(inputs[name]) or _named(wires, node_id, name, match[1])
        if found and found.name not in NONE and (found.strength or found.strength_clip):
            yield found


def is_off(wires: Wires, node_id: str) -> bool:
    """Whether a node applies LoRAs, and these are all off."""
    names = any(_LORA.match(name) for name in wires.inputs(node_id))
    return names and next(loras_of(wires, node_id), None) is None


def _bundled(value: Any) -> AppliedLora | None:
    """Return the LoRA of a value that has its switch and strengths in it."""
    if not isinstance(value, Mapping) or not isinstance(value.get("lora"), str):
        return None
    if value.get("on") is False:
        return None
    strength = _strength(value.get("strength"))
    return AppliedLora(value["lora"][:NAME_LENGTH], strength, _strength(value.get("strengthTwo")))


def _named(wires: Wires, node_id: str, name: str, number: str | None) -> AppliedLora | None:
    value = wires.value(Place(node_id, name))
    end = f"_{number}" if number else ""
    if not isinstance(value, str) or wires.inputs(node_id).get(f"switch{end}") == "Off":
        return None
    told = [
        next(
            (_told(wires, node_id, f"{word}{end}") for word in words if f"{word}{end}" in inputs),
            None,
        )
        for inputs in (wires.inputs(node_id),)
        for words in (_STRENGTHS, _CLIP_STRENGTHS)
    ]
    return AppliedLora(value[:NAME_LENGTH], *told)


def _told(wires: Wires, node_id: str, name: str) -> float | None:
    return _strength(wires.value(Place(node_id, name)))


def _strength(value: Any) -> float | None:
    # Longer than any strength, and what JSON cannot say, is none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        return None
    return float(value)
