"""LoRAs put into a graph: loaders chained behind those that are there; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, zip_longest
from typing import Any

from gateway import graph
from gateway.workflows.loras import chains as model_chains
from gateway.workflows.loras import target as lora_target
from gateway.workflows.loras.chains import Chain
from gateway.workflows.loras.wires import Point, Port

#: What our nodes are called, with a number behind it.
NODE_ID = "gateway_lora_"


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


@dataclass
class _Spot:
    """A place for LoRAs: what the next one takes, and what takes the last one."""

    model: Point | None
    clip: Point | None
    #: Where the model comes from now. A text encoder alone still needs one: its loader takes both.
    model_from: Port
    clip_from: Port | None


def with_loras(workflow: graph.Graph, loras: Sequence[Lora]) -> graph.Graph:
    """Return a copy in which the LoRAs apply, in this order, after those that are there.

    Raises LoraRefused with the reason when a graph has no place for one.
    """
    if not loras:
        return workflow
    found = model_chains.chains(workflow)
    spots: dict[str, list[_Spot]] = {}
    ids = _ids(workflow)
    added: graph.Graph = {}
    for lora in loras:
        for chain in lora_target.chosen(workflow, found, lora.target):
            if chain.source not in spots:
                spots[chain.source] = _spots(workflow, chain)
            for spot in spots[chain.source]:
                _add(added, next(ids), spot, lora)
    edits: dict[tuple[str, str], Any] = {}
    for spot in (one for several in spots.values() for one in several):
        edits |= _rewired(spot.model, spot.model_from) | _rewired(spot.clip, spot.clip_from)
    return {**graph.with_inputs(workflow, edits), **added}


def _ids(workflow: graph.Graph) -> Iterator[str]:
    return (name for number in count(1) if (name := f"{NODE_ID}{number}") not in workflow)


def _spots(workflow: graph.Graph, chain: Chain) -> list[_Spot]:
    """Pair the places on the model's way with those on the text encoder's.

    First those behind the same node, then the others as they come.
    """
    behind = {point.port.node_id: point for point in chain.clips}
    pairs: list[tuple[Point | None, Point | None]] = []
    alone = []
    for model in chain.models:
        clip = behind.pop(model.port.node_id, None)
        if clip is None:
            alone.append(model)
        else:
            pairs.append((model, clip))
    pairs += zip_longest(alone, behind.values())
    return [
        spot for model, clip in pairs for spot in _parted(workflow, model, clip, chain.models[0])
    ]


def _parted(
    workflow: graph.Graph, model: Point | None, clip: Point | None, first: Point
) -> list[_Spot]:
    """Return the spot of a pair; only the model's, where the pair would make a circle."""
    if model is not None and clip is not None and _is_circular(workflow, model, clip):
        clip = None
    place = model or first
    return [_Spot(model, clip, place.port, None if clip is None else clip.port)]


def _is_circular(workflow: graph.Graph, model: Point, clip: Point) -> bool:
    """Whether one of the two comes from what is to take the other from the new node."""
    return any(
        wire.node_id in before
        for point, other in ((model, clip), (clip, model))
        if (before := set(graph.reached_from(workflow, other.port.node_id)))
        for wire in point.wires
    )


def _add(added: graph.Graph, node_id: str, spot: _Spot, lora: Lora) -> None:
    inputs: dict[str, Any] = {"model": list(spot.model_from)}
    if spot.clip_from is not None:
        inputs["clip"] = list(spot.clip_from)
    inputs |= {"lora_name": lora.file, "strength_model": lora.strength}
    if spot.clip_from is None:
        added[node_id] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    else:
        told = lora.strength_clip
        inputs["strength_clip"] = lora.strength if told is None else told
        added[node_id] = {"class_type": "LoraLoader", "inputs": inputs}
        spot.clip_from = Port(node_id, 1)
    spot.model_from = Port(node_id, 0)


def _rewired(point: Point | None, port: Port | None) -> dict[tuple[str, str], Any]:
    if point is None or port is None:
        return {}
    return {(wire.node_id, wire.name): list(port) for wire in point.wires}
