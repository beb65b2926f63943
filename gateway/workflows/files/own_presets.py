"""Presets of samplers and of LoRAs that an operator wrote down; pure."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ValidationError

from gateway.schemas import LoraWish
from gateway.workflows.files import fields
from gateway.workflows.files.mistakes import Mistake, Spot, near, shown
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling.presets import Preset

_SENTENCES = {
    "int_type": "this must be a whole number",
    "int_from_float": "this must be a whole number",
    "float_type": "this must be a number",
    "string_type": "this must be text; put it in quotes",
    "finite_number": "this must be a finite number",
}


def presets(spot: Spot, wrong: list[Mistake]) -> dict[str, Preset]:
    """Return the presets that a file holds, less those that are wrong."""
    found = {}
    for name in fields.entries(spot, wrong):
        preset = _read(Preset, spot.at(name), wrong)
        if not isinstance(preset, Preset):
            continue
        if preset.settings:
            found[name] = preset
        else:
            told = f"this preset sets nothing; {near('', Preset.model_fields)}"
            wrong.append(spot.at(name).mistake(told))
    return found


def lora_presets(spot: Spot, wrong: list[Mistake]) -> dict[str, tuple[Lora, ...]]:
    """Return the lists of LoRAs that a file holds, less those that are wrong."""
    found = {}
    for name in fields.entries(spot, wrong):
        listed = spot.at(name)
        if problem := fields.sequence(listed.value):
            wrong.append(listed.mistake(problem))
            continue
        wishes = [_read(LoraWish, listed.at(index), wrong) for index in range(len(listed.value))]
        made = [_lora(wish) for wish in wishes if isinstance(wish, LoraWish)]
        if len(made) == len(wishes):
            found[name] = tuple(made)
    return found


def _lora(wish: LoraWish) -> Lora:
    return Lora(wish.name or wish.url or "", wish.strength, wish.strength_clip, wish.target)


def _read(kind: type[BaseModel], spot: Spot, wrong: list[Mistake]) -> BaseModel | None:
    if problem := fields.mapping(spot.value):
        wrong.append(spot.mistake(problem))
        return None
    try:
        return kind.model_validate(spot.value, strict=True)
    except ValidationError as failure:
        wrong.extend(_mistakes(kind, failure, spot))
        return None


def _mistakes(kind: type[BaseModel], failure: ValidationError, spot: Spot) -> Iterator[Mistake]:
    for found in failure.errors(include_url=False, include_input=False):
        if found["type"] == "extra_forbidden":
            key = str(found["loc"][0])
            said = f"there is no key {shown(key)} here; {near(key, kind.model_fields)}"
            yield spot.at(key).mistake_of_key(said)
        else:
            there = spot.at(found["loc"][0]) if found["loc"] else spot
            said = found["msg"].removeprefix("Value error, ")
            said = said.replace("Input should", "this must")
            yield there.mistake(_SENTENCES.get(found["type"], said))
