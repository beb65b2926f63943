"""The wire contract of LoRAs and presets, as pydantic models."""

from __future__ import annotations

from pydantic import BaseModel, Field

from gateway.workflows.sampling.presets import Preset


class LoraFile(BaseModel):
    """A LoRA that a request may name."""

    name: str = Field(description="As LoraLoader takes it: with its folder and its ending.")
    url: str | None = Field(
        None,
        description="Where it was fetched from, without user, password and secret values.",
    )


class LoraList(BaseModel):
    """`GET /loras`."""

    loras: list[LoraFile]


class ListedLora(BaseModel):
    """A LoRA of a lora preset: its name or its URL."""

    name: str | None = None
    url: str | None = Field(None, description="Without user, password and secret values.")
    strength: float
    strength_clip: float | None = None
    target: str | None = None


class PresetList(BaseModel):
    """`GET /presets`."""

    presets: dict[str, Preset] = Field(description="Those that are built in, and your own.")
    lora_presets: dict[str, list[ListedLora]]
