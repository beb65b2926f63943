"""Parameters, a preset and LoRAs make the graph that runs; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway import graph
from gateway.workflows.loras import Lora
from gateway.workflows.presets import Preset
from gateway.workflows.workflow import Workflow


@dataclass(frozen=True)
class Built:
    """A graph that is ready to be checked."""

    workflow: graph.Graph
    warnings: list[str] = field(default_factory=list)
    #: One sentence for each value that is not as the file has it: `6.inputs.text: "a" -> "b"`.
    changes: list[str] = field(default_factory=list)
    #: Place in the graph -> place in the request: `prompt.6.inputs.text` -> `input.prompt`.
    places: Mapping[str, str] = field(default_factory=dict)


def build(
    workflow: Workflow,
    given: Mapping[str, Any],
    preset: Preset | None,
    loras: Sequence[Lora],
    random_seed: Callable[[], int],
) -> Built:
    """Return the graph for these values.

    What wins: a value that was given, then the preset, then the parameter's default, then what
    stands in the graph. Raises InvalidParameters with all that is wrong, PresetRefused,
    LoraRefused.
    """
    raise NotImplementedError


def used(workflow: Workflow, built: graph.Graph) -> dict[str, Any]:
    """Return the values of all parameters, as a graph that was built of a workflow has them."""
    raise NotImplementedError


def edited(workflow: graph.Graph, preset: Preset | None, loras: Sequence[Lora]) -> Built:
    """Return any graph with a preset and LoRAs in it; raises PresetRefused, LoraRefused."""
    raise NotImplementedError
