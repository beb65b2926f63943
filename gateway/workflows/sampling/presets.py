"""Presets: settings for whatever sampler a graph has; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Annotated, Any

from pydantic import Field

from gateway import errors, graph
from gateway.schemas import Wire
from gateway.workflows.sampling.links import Wires
from gateway.workflows.sampling.samplers import SIZES, Place, Sampler, edits, samplers, writable

Word = Annotated[str, Field(min_length=1, max_length=200, strict=True)]
Pixels = Annotated[int, Field(ge=16, le=16384, multiple_of=8, strict=True)]


class Preset(Wire):
    """Settings by name; what is None stays as the graph has it."""

    steps: Annotated[int, Field(ge=1, le=10000, strict=True)] | None = None
    cfg: Annotated[float, Field(ge=0, le=100, strict=True, allow_inf_nan=False)] | None = None
    sampler: Word | None = None
    scheduler: Word | None = None
    denoise: Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)] | None = None
    width: Pixels | None = None
    height: Pixels | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What it sets."""
        return self.model_dump(exclude_none=True)


#: Those that are always there; `presets.yaml` may give others, and other values to these.
BUILT_IN: dict[str, Preset] = {
    "draft": Preset(steps=10, cfg=5.0, sampler="euler", scheduler="normal"),
    "balanced": Preset(steps=20, cfg=7.0, sampler="euler_ancestral", scheduler="normal"),
    "fast": Preset(steps=15, cfg=7.0, sampler="dpmpp_2m", scheduler="normal"),
    "high-quality": Preset(steps=50, cfg=7.5, sampler="dpmpp_2m_sde", scheduler="karras"),
    "ultra": Preset(steps=100, cfg=8.0, sampler="dpmpp_2m_sde", scheduler="karras"),
}


def apply(
    workflow: graph.Graph, preset: Preset, kept: AbstractSet[Place] = frozenset()
) -> tuple[graph.Graph, list[str]]:
    """Return a copy with the preset's settings on every sampler, and what found no place.

    `kept` are the inputs that hold what the caller gave: they stay. Raises PresetRefused when the
    graph has no sampler.
    """
    found = samplers(workflow)
    if not found:
        raise errors.PresetRefused(
            "The workflow has no sampler that a preset could set.",
            hint="Leave preset out, or send a workflow with a KSampler or the like.",
            location="preset",
        )
    wires = Wires(workflow)
    settings = {
        name: value
        for name, value in preset.settings.items()
        if not _is_kept(wires, found, name, kept)
    }
    written, _ = edits(workflow, settings, found)
    values: dict[tuple[str, str], Any] = {
        place: value for place, value in written.items() if place not in kept
    }
    return graph.with_inputs(workflow, values), list(_homeless(workflow, settings, found))


def _is_kept(wires: Wires, found: list[Sampler], name: str, kept: AbstractSet[Place]) -> bool:
    """Whether all places of a setting are kept: then nothing is scaled for it either."""
    places = {place for one in found for place in writable(wires, one, name)}
    return bool(places) and places <= kept


def _homeless(
    workflow: graph.Graph, settings: Mapping[str, Any], found: list[Sampler]
) -> Iterator[str]:
    wires = Wires(workflow)
    for name in settings:
        lacking = [one for one in found if not writable(wires, one, name)]
        if name in SIZES:
            # What goes on with another sampler's latent has its size, or keeps its proportion.
            lacking = [one for one in lacking if one.before is None]
        if lacking:
            nodes = ", ".join(
                f"{one.node_id} ({workflow[one.node_id]['class_type']})" for one in lacking
            )
            yield f"The preset's {name} has no place at {nodes}: it stays as the workflow has it."
