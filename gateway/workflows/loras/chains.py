"""The model chains of a graph: a loader of a model, and all that its model goes through; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway import errors, graph
from gateway.workflows.loras import wires as model_wires
from gateway.workflows.loras.wires import Point, Port, Wiring

#: Graphs have two, at times four; each costs a walk through the graph.
MOST = 32

#: What tells a node that samples with a model, or times a sampler, from one that changes it.
_SAMPLING = frozenset(
    ("latent_image", "sampler_name", "scheduler", "sigmas", "noise_seed", "seed", "steps", "cfg")
)
#: What guiders take too; beside a text encoder it is a bundle that takes them, as a pipe is.
_GUIDING = frozenset(("positive", "negative", "conditioning", "cond1"))
_CONDITIONING = re.compile(r"positive|negative|cond|guider|prompt", re.IGNORECASE)
_SIDE = re.compile(r"(?:^|[^a-z])(high|low)(?![a-z])|(high|low)[ _-]?noise", re.IGNORECASE)

#: Names of files and titles are shorter.
_NAME_LENGTH = 1024

Side = Literal["high", "low"]


@dataclass(frozen=True)
class Chain:
    """A loader of a model, and all that its model goes through."""

    source: str
    #: The nodes that the model reaches, the loader first.
    members: tuple[str, ...]
    samplers: tuple[str, ...]
    #: Where LoRAs go on the model's way.
    models: tuple[Point, ...]
    #: Where they go on the way of the text encoder that belongs to it; none belongs to it: empty.
    clips: tuple[Point, ...] = ()
    #: Of a pipeline in two parts: the part for much noise, or the one for little.
    side: Side | None = None


def chains(workflow: graph.Graph) -> list[Chain]:
    """Return the chains in the order of the graph; raises LoraRefused where there are too many."""
    models, clips, links = model_wires.read(workflow)
    sources = [
        node_id
        for node_id in workflow
        if node_id in models.outputs and not models.entering.get(node_id)
    ]
    carried = _carried(workflow, models, links, sources)
    sources = [source for source in sources if source not in carried]
    if len(sources) > MOST:
        raise errors.LoraRefused(
            f"The workflow has more than {MOST} model chains.",
            hint="Put the LoRAs into the graph yourself.",
            location="loras",
        )
    walked = (_chain(workflow, source, models, links) for source in sources)
    found = [
        chain
        for chain in walked
        # What only LoRAs take has no place behind them on its way.
        if chain.models
        and (chain.samplers or workflow[chain.source]["class_type"] in model_wires.LOADERS)
    ]
    with_clips = _with_clips(workflow, found, clips, links)
    return [
        replace(one, side=side)
        for one, side in zip(with_clips, _sides(workflow, found, models), strict=True)
    ]


def is_sampling(node: Mapping[str, Any]) -> bool:
    """Whether a node that takes a model samples with it, or guides or times a sampler."""
    inputs = node.get("inputs", {})
    if not _SAMPLING.isdisjoint(inputs):
        return True
    return not _GUIDING.isdisjoint(inputs) and "clip" not in inputs


def _carried(workflow: graph.Graph, models: Wiring, links: Wiring, sources: list[str]) -> set[str]:
    """Return those of the sources whose model was put into a bundle before, as pipes do."""
    unknown = {
        node_id
        for node_id in sources
        if node_id in links.entering and workflow[node_id]["class_type"] not in model_wires.LOADERS
    }
    if not unknown:
        return set()
    starts = (node_id for node_id in models.entering if not is_sampling(workflow[node_id]))
    return unknown.intersection(_downstream(workflow, starts, models, links))


def _chain(workflow: graph.Graph, source: str, models: Wiring, links: Wiring) -> Chain:
    members = tuple(_downstream(workflow, [source], models, links))
    samplers = (
        node_id
        for node_id in members
        if node_id in models.entering and is_sampling(workflow[node_id])
    )
    places = model_wires.points(workflow, models, models.outputs[source])
    return Chain(source, members, tuple(samplers), tuple(places))


def _downstream(
    workflow: graph.Graph, starts: Iterable[str], models: Wiring, links: Wiring
) -> Iterator[str]:
    """Yield the nodes that a model reaches: by its wires, and in bundles, as pipes are."""
    waiting = list(starts)
    seen = set(waiting)
    while waiting:
        node_id = waiting.pop()
        yield node_id
        is_open = node_id in models.outputs or is_sampling(workflow[node_id])
        wiring = models if is_open else links
        for port in wiring.outputs.get(node_id, ()):
            for wire in wiring.leaving[port]:
                if wire.node_id not in seen:
                    seen.add(wire.node_id)
                    waiting.append(wire.node_id)


def _with_clips(
    workflow: graph.Graph, found: list[Chain], clips: Wiring, links: Wiring
) -> list[Chain]:
    """Give each chain its text encoder: the loader's own, else the one that its samplers read.

    One that several chains read belongs to none of them: it would get a LoRA of each.
    """
    starts = [_clip_starts(workflow, chain, clips, links) for chain in found]
    if len(found) == 1 and not starts[0]:
        everywhere = {port for ports in clips.outputs.values() for port in ports}
        starts = [{port for port in everywhere if port.node_id not in clips.entering}]
    readers = Counter(port for one in starts for port in one)
    given = []
    for chain, ports in zip(found, starts, strict=True):
        is_own = all(port.node_id == chain.source for port in ports)
        is_alone = len(ports) == 1 and readers[next(iter(ports))] == 1
        places = (
            model_wires.points(workflow, clips, ports) if ports and (is_own or is_alone) else []
        )
        given.append(replace(chain, clips=tuple(places)))
    return given


def _clip_starts(workflow: graph.Graph, chain: Chain, clips: Wiring, links: Wiring) -> set[Port]:
    own = clips.outputs.get(chain.source)
    if own and chain.source not in clips.entering:
        return set(own)
    waiting = [
        wire.port
        for node_id in chain.samplers
        for wire in links.entering[node_id]
        if _CONDITIONING.search(wire.name)
    ]
    seen: set[Port] = set()
    ends: set[Port] = set()
    while waiting:
        port = waiting.pop()
        if port in seen:
            continue
        seen.add(port)
        encoders = clips.entering.get(port.node_id, [])
        if port in clips.leaving and not encoders:
            ends.add(port)
        following = encoders or links.entering.get(port.node_id, [])
        waiting += [one.port for one in following if encoders or _CONDITIONING.search(one.name)]
    return ends


def _sides(workflow: graph.Graph, found: list[Chain], models: Wiring) -> list[Side | None]:
    """Tell the parts of a pipeline for much and for little noise apart.

    By the step that its samplers start at; where that says nothing, by the names of files, of
    inputs, and of what stands on the way.
    """
    starts = [_first_step(workflow, chain) for chain in found]
    known = {step for step in starts if step is not None}
    sides: list[Side | None] = []
    for chain, step in zip(found, starts, strict=True):
        if step is not None and len(known) > 1:
            sides.append("high" if step == min(known) else "low")
        else:
            sides.append(_named_side(workflow, chain, models))
    return sides


def _first_step(workflow: graph.Graph, chain: Chain) -> float | None:
    steps = []
    for node_id in chain.samplers:
        value = workflow[node_id]["inputs"].get("start_at_step")
        if graph.is_link(value) and value[0] in workflow:
            value = workflow[value[0]].get("inputs", {}).get("value")
        if isinstance(value, int | float):
            steps.append(value)
    return min(steps, default=None)


def _named_side(workflow: graph.Graph, chain: Chain, models: Wiring) -> Side | None:
    members = set(chain.members)
    taken = (wire for node_id in chain.samplers for wire in models.entering[node_id])
    on_the_way = (name for node_id in chain.members for name in _names(workflow[node_id]))
    for told in (
        _names(workflow[chain.source]),
        (wire.name for wire in taken if wire.port.node_id in members),
        on_the_way,
    ):
        said = {side for text in told for side in _side_words(text)}
        if len(said) == 1:
            return said.pop()
    return None


def _names(node: Mapping[str, Any]) -> Iterator[str]:
    yield title(node)
    yield from (value for value in node.get("inputs", {}).values() if isinstance(value, str))


def _side_words(text: str) -> Iterator[Side]:
    for found in _SIDE.findall(text[:_NAME_LENGTH]):
        yield "high" if "high" in "".join(found).lower() else "low"


def title(node: Mapping[str, Any]) -> str:
    """Return what the node is called on the canvas."""
    meta = node.get("_meta")
    found = meta.get("title") if isinstance(meta, dict) else None
    return found if isinstance(found, str) else ""
