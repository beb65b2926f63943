"""Presets: settings for whatever sampler a graph has; pure."""

from __future__ import annotations

from typing import Any

from gateway import graph
from gateway.schemas import Wire


class Preset(Wire):
    """Settings by name; what is None stays as the graph has it."""

    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    denoise: float | None = None
    width: int | None = None
    height: int | None = None

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


def apply(workflow: graph.Graph, preset: Preset) -> tuple[graph.Graph, list[str]]:
    """Return a copy with these settings, and warnings; raises PresetRefused."""
    return workflow, []
