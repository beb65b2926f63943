"""The samplers of a graph, and where each of their settings stands; pure.

One reading for all who speak of a graph in a sampler's words: presets and overrides write there,
sidecars read there, a manifest is proposed from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway import graph

#: What a sampler is told, by the words that presets, sidecars and the command line use.
SETTINGS = (
    "seed",
    "steps",
    "cfg",
    "sampler",
    "scheduler",
    "denoise",
    "prompt",
    "negative_prompt",
    "width",
    "height",
)


class Place(NamedTuple):
    """An input that holds a value: the key of `graph.with_inputs`."""

    node_id: str
    name: str


@dataclass(frozen=True)
class Sampler:
    """A node that samples, and where its settings stand in the graph."""

    node_id: str
    #: Setting -> the inputs that hold it; a setting that the graph does not tell is not there.
    places: Mapping[str, tuple[Place, ...]]


def samplers(workflow: graph.Graph) -> list[Sampler]:
    """Return every sampler, in the order of the graph."""
    return []


def values(workflow: graph.Graph, sampler: Sampler) -> dict[str, Any]:
    """Return what a sampler is told, by setting."""
    return {}


def edits(workflow: graph.Graph, settings: Mapping[str, Any]) -> tuple[dict[Place, Any], list[str]]:
    """Return what to write for these settings, and the settings that found no place."""
    return {}, list(settings)
