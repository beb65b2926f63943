"""The presets and LoRAs that a gateway knows."""

from __future__ import annotations

from typing import Any

from gateway import errors
from gateway.cli.client import Client
from gateway.workflows.sampling.presets import Preset


async def preset(client: Client, name: str) -> Preset:
    """Return a preset of the gateway; raises UnknownPreset."""
    found = (await client.ask("GET", "/presets"))["presets"]
    if name not in found:
        raise errors.UnknownPreset(
            f"There is no preset {name!r}.", hint=f"There are: {', '.join(found)}."
        )
    known = {key: value for key, value in found[name].items() if key in Preset.model_fields}
    return Preset(**known)


COLUMNS = ("PRESET", "STEPS", "CFG", "SAMPLER", "SCHEDULER", "DENOISE", "SIZE")


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the presets as lines of a table, as COLUMNS has it."""
    return [_row(name, preset) for name, preset in found["presets"].items()]


def _row(name: str, preset: dict[str, Any]) -> tuple[str, ...]:
    told = [preset.get(key) for key in ("steps", "cfg", "sampler", "scheduler", "denoise")]
    width, height = preset.get("width"), preset.get("height")
    size = f"{width or '?'}x{height or '?'}" if width or height else ""
    return (name, *("" if value is None else str(value) for value in told), size)


LORA_COLUMNS = ("LORA PRESET", "LORAS")


def lora_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the lists of LoRAs as lines of a table, as LORA_COLUMNS has it."""
    return [
        (name, ", ".join(_wish(one) for one in listed))
        for name, listed in found.get("lora_presets", {}).items()
    ]


def _wish(lora: dict[str, Any]) -> str:
    """Return a LoRA as `--lora` takes it."""
    told = [lora.get("url") or lora.get("name"), lora.get("strength"), lora.get("strength_clip")]
    target = f"@{lora['target']}" if lora.get("target") else ""
    return ":".join(str(one) for one in told if one is not None) + target


def loras(found: dict[str, Any]) -> list[str]:
    """Return the names of the LoRAs, a line each."""
    return [one if isinstance(one, str) else str(one["name"]) for one in found["loras"]]
