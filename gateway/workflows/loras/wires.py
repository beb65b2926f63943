"""The wires of a graph that carry models, and those that carry text encoders; pure.

A graph does not say of what type a wire is. It is told by the inputs that it leads to (`model`,
`clip`, and names like them), and by the outputs of classes that are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway import graph

#: class -> which of its outputs is the model, which the text encoder.
LOADERS: dict[str, tuple[int, int | None]] = {
    "CheckpointLoader": (0, 1),
    "CheckpointLoaderSimple": (0, 1),
    "CheckpointLoaderNF4": (0, 1),
    "unCLIPCheckpointLoader": (0, 1),
    "DiffusersLoader": (0, 1),
    "ImageOnlyCheckpointLoader": (0, None),
    "UNETLoader": (0, None),
    "UNETLoaderNF4": (0, None),
    "UnetLoaderGGUF": (0, None),
    "UnetLoaderGGUFAdvanced": (0, None),
}
_LORAS: dict[str, tuple[int, int | None]] = {"LoraLoader": (0, 1), "LoraLoaderModelOnly": (0, None)}
_KNOWN = {**LOADERS, **_LORAS}

_MODEL_INPUT = re.compile(
    r"model(_?[0-9a-d])?|(model_)?(high|low)(_noise)?(_model)?|(base|refiner)_model"
    r"|model_(base|refiner)"
)
_CLIP_INPUT = re.compile(r"clip(_?[0-9a-d])?|(base|refiner)_clip|clip_(base|refiner)")


class Port(NamedTuple):
    """An output of a node."""

    node_id: str
    slot: int | float


class Wire(NamedTuple):
    """A link into an input."""

    port: Port
    node_id: str
    name: str


@dataclass(frozen=True)
class Wiring:
    """All wires of one kind."""

    #: output -> the wires that leave it.
    leaving: Mapping[Port, list[Wire]]
    #: node -> its outputs of this kind that something takes.
    outputs: Mapping[str, list[Port]]
    #: node -> the wires of this kind that it takes.
    entering: Mapping[str, list[Wire]]


@dataclass(frozen=True)
class Point:
    """An output, and those of its wires that are to come from a LoRA instead."""

    port: Port
    wires: tuple[Wire, ...]


def read(workflow: graph.Graph) -> tuple[Wiring, Wiring, Wiring]:
    """Return the wires of models, those of text encoders, and all wires."""
    wires = [
        Wire(Port(value[0], value[1]), node_id, name)
        for node_id, node in workflow.items()
        for name, value in node.get("inputs", {}).items()
        if graph.is_link(value) and value[0] in workflow
    ]
    models: set[Port] = set()
    clips: set[Port] = set()
    for port, _, name in wires:
        known = _KNOWN.get(workflow[port.node_id]["class_type"])
        is_model = is_model_input(name) if known is None else port.slot == known[0]
        is_clip = is_clip_input(name) if known is None else port.slot == known[1]
        if is_model:
            models.add(port)
        elif is_clip:
            clips.add(port)
    return (
        _wiring(wire for wire in wires if wire.port in models),
        _wiring(wire for wire in wires if wire.port in clips),
        _wiring(wires),
    )


def is_model_input(name: str) -> bool:
    """Whether an input of this name takes a model."""
    is_likely = "model" in name or "noise" in name
    return name == "model" or (is_likely and _MODEL_INPUT.fullmatch(name) is not None)


def is_clip_input(name: str) -> bool:
    """Whether an input of this name takes a text encoder."""
    return name == "clip" or ("clip" in name and _CLIP_INPUT.fullmatch(name) is not None)


def is_lora(node: Mapping[str, Any]) -> bool:
    """Whether a node that takes a model applies LoRAs to it."""
    return "lora" in str(node["class_type"]).lower()


def _wiring(wires: Iterable[Wire]) -> Wiring:
    leaving: dict[Port, list[Wire]] = {}
    outputs: dict[str, list[Port]] = {}
    entering: dict[str, list[Wire]] = {}
    for wire in wires:
        if wire.port not in leaving:
            leaving[wire.port] = []
            outputs.setdefault(wire.port.node_id, []).append(wire.port)
        leaving[wire.port].append(wire)
        entering.setdefault(wire.node_id, []).append(wire)
    return Wiring(leaving, outputs, entering)


def points(workflow: graph.Graph, wiring: Wiring, starts: Iterable[Port]) -> list[Point]:
    """Return where LoRAs go that come after those that are there, and before all else.

    Behind the last LoRA of every branch; where a branch has none, behind its start.
    """
    starts = list(starts)
    leading = _leading_to_loras(workflow, wiring, starts)
    opened = [*starts, *(port for node_id in leading for port in wiring.outputs.get(node_id, ()))]
    found = []
    for port in opened:
        wires = (wire for wire in wiring.leaving.get(port, ()) if wire.node_id not in leading)
        if kept := tuple(wires):
            found.append(Point(port, kept))
    return found


def _leading_to_loras(
    workflow: graph.Graph, wiring: Wiring, starts: Iterable[Port]
) -> dict[str, None]:
    """Return the nodes that are LoRAs or lead to one, from the start on.

    Nodes with two wires of the kind are where branches meet: what is behind them is left alone,
    and so there is one way to each node.
    """
    waiting = list(starts)
    way: list[str] = []
    before: dict[str, str] = {}
    while waiting:
        port = waiting.pop()
        for wire in wiring.leaving.get(port, ()):
            if len(wiring.entering[wire.node_id]) == 1:
                way.append(wire.node_id)
                before[wire.node_id] = port.node_id
                waiting += wiring.outputs.get(wire.node_id, ())
    leading: set[str] = set()
    for node_id in reversed(way):
        if node_id in leading or is_lora(workflow[node_id]):
            leading |= {node_id, before[node_id]}
    return {node_id: None for node_id in way if node_id in leading}
