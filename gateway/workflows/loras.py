"""LoRAs put into a graph: loaders chained behind those that are there; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway import graph


@dataclass(frozen=True)
class Lora:
    """A LoRA to put into a graph."""

    #: A name that ComfyUI lists, or a URL that is fetched for the job.
    file: str
    strength: float = 1.0
    #: None: as `strength`.
    strength_clip: float | None = None
    #: Which model chain, where a graph has several.
    target: str | None = None


def with_loras(workflow: graph.Graph, loras: Sequence[Lora]) -> graph.Graph:
    """Return a copy in which the LoRAs apply, in this order, after those that are there.

    Raises LoraRefused with the reason when a graph has no place for one.
    """
    return workflow
