"""Which nodes of a graph sample, and which inputs hold each of their settings; pure.

Nodes are known by the names of their inputs, so samplers of custom nodes are read as ComfyUI's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from gateway import graph
from gateway.workflows.sampling.conditioning import Role, texts
from gateway.workflows.sampling.latents import Origin, origin, size_places
from gateway.workflows.sampling.links import Place, Wires

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
TEXTS: dict[str, Role] = {"prompt": "positive", "negative_prompt": "negative"}

#: ComfyUI's own; others are known by their inputs.
CLASSES = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})
_HOW = frozenset({"sampler_name", "sampler", "scheduler", "cfg"})
_OF_WHAT = frozenset({"seed", "noise_seed", "noise", "positive", "guider", "latent_image"})

#: Setting -> the inputs that may hold it, on the sampler or on a node that it is wired to.
INPUTS: dict[str, tuple[str, ...]] = {
    "seed": ("seed", "noise_seed"),
    "steps": ("steps",),
    "cfg": ("cfg", "cfg_conds"),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "denoise": ("denoise", "denoise_strength"),
}
#: A sampler's wire -> the settings that may stand behind it.
BEHIND: dict[str, tuple[str, ...]] = {
    "noise": ("seed",),
    "guider": ("cfg",),
    "sampler": ("sampler",),
    "sigmas": ("steps", "scheduler", "denoise"),
}
CONDITIONINGS: dict[Role, tuple[str, ...]] = {
    "positive": ("positive", "cond1", "conditioning", "text_embeds", "basic_pipe", "pipe"),
    "negative": ("negative", "cond2", "neg_conditioning", "text_embeds", "basic_pipe", "pipe"),
}
#: Inputs that count in steps: they keep their share when the steps change.
COUNTED = ("start_at_step", "end_at_step")


@dataclass(frozen=True)
class Sampler:
    """A node that samples, and where its settings stand in the graph."""

    node_id: str
    #: Setting -> the inputs that hold it; a setting that the graph does not tell is not there.
    places: Mapping[str, tuple[Place, ...]]
    #: Settings that no input holds: a KarrasScheduler is "karras".
    fixed: Mapping[str, str] = field(default_factory=dict)
    #: Inputs that count its steps.
    counted: tuple[Place, ...] = ()
    #: Whether its seed makes the noise that it starts from.
    adds_noise: bool = True
    #: The sampler whose latent it goes on with, and whether at the same size.
    before: str | None = None
    same_size: bool = True


def samplers(workflow: graph.Graph) -> list[Sampler]:
    """Return every sampler, in the order of the graph."""
    wires = Wires(workflow)
    ids = {node_id: None for node_id, node in workflow.items() if is_sampler(node)}
    return _at_home(wires, [_read(wires, node_id, ids.keys()) for node_id in ids])


def is_sampler(node: Mapping[str, Any]) -> bool:
    """Whether a node samples, by its class or by the names of its inputs."""
    inputs = node.get("inputs", {})
    if node["class_type"] in CLASSES:
        return True
    if "steps" not in inputs and "sigmas" not in inputs:
        return False
    return not _HOW.isdisjoint(inputs) and not _OF_WHAT.isdisjoint(inputs)


def _read(wires: Wires, node_id: str, others: AbstractSet[str]) -> Sampler:
    own = _own(wires.inputs(node_id), node_id)
    places: dict[str, tuple[Place, ...]] = {name: (place,) for name, place in own.items()}
    behind = {wire: _behind(wires, node_id, wire) for wire in BEHIND}
    for wire, end in behind.items():
        for name in BEHIND[wire] if end else ():
            found = _first(wires.inputs(end), end, INPUTS[name]) if end else None
            if found:
                places.setdefault(name, (found,))
    guider = wires.walk_to(wires.source(node_id, "guider"), "guider", _guides)
    places |= _prompts(wires, guider or node_id)
    comes_from = origin(wires, node_id, others)
    places |= {name: (place,) for name, place in size_places(comes_from).items()}
    return _sampler(wires, node_id, places, behind, comes_from)


def _sampler(
    wires: Wires,
    node_id: str,
    places: dict[str, tuple[Place, ...]],
    behind: Mapping[str, str | None],
    comes_from: Origin,
) -> Sampler:
    inputs = wires.inputs(node_id)
    silent = wires.source(node_id, "noise") is not None and "seed" not in places
    return Sampler(
        node_id,
        places,
        _fixed(wires, node_id, places, behind),
        tuple(_counted(wires, node_id)),
        not (silent or inputs.get("add_noise") in ("disable", False)),
        comes_from.before,
        comes_from.same_size,
    )


def _own(inputs: Mapping[str, Any], node_id: str) -> dict[str, Place]:
    found = {name: _first(inputs, node_id, names) for name, names in INPUTS.items()}
    if found["sampler"] is None and isinstance(inputs.get("sampler"), str):
        found["sampler"] = Place(node_id, "sampler")
    return {name: place for name, place in found.items() if place}


def _first(inputs: Mapping[str, Any], node_id: str, names: Iterable[str]) -> Place | None:
    return next((Place(node_id, name) for name in names if name in inputs), None)


def _behind(wires: Wires, node_id: str, wire: str) -> str | None:
    """Return the node at the end of a wire: behind all that only pass it on or change it."""
    start = wires.source(node_id, wire)
    if start is None:
        return None

    def ends(inputs: Mapping[str, Any]) -> bool:
        passes = any(name.startswith(wire) and graph.is_link(inputs[name]) for name in inputs)
        return not passes and not (len(inputs) == 1 and graph.is_link(next(iter(inputs.values()))))

    return wires.walk_to(start, wire, ends)


def _guides(inputs: Mapping[str, Any]) -> bool:
    return any(name in inputs for names in CONDITIONINGS.values() for name in names)


def _prompts(wires: Wires, node_id: str) -> dict[str, tuple[Place, ...]]:
    """Return the prompts; a text that is wired to both sides is what is wanted."""
    found: dict[str, tuple[Place, ...]] = {}
    for name, role in TEXTS.items():
        for wire in CONDITIONINGS[role]:
            reached = texts(wires, wires.source(node_id, wire), role)
            own = tuple(place for place in reached if place not in found.get("prompt", ()))
            if own:
                found[name] = own
                break
    return found


def _fixed(
    wires: Wires, node_id: str, places: Mapping[str, Any], behind: Mapping[str, str | None]
) -> dict[str, str]:
    """Return the sampler and the scheduler that a node is by its class."""
    found = {}
    for wire, name, word in (
        ("sampler", "sampler", "Sampler"),
        ("sigmas", "scheduler", "Scheduler"),
    ):
        end = behind[wire]
        if end and name not in places and word in (spoken := wires.class_of(end)):
            found[name] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", spoken.replace(word, "")).lower()
    return found


def _counted(wires: Wires, node_id: str) -> Iterable[Place]:
    inputs = wires.inputs(node_id)
    yield from (Place(node_id, name) for name in COUNTED if name in inputs)
    start, seen = wires.source(node_id, "sigmas"), set[str]()
    while start and start[0] not in seen and wires.spend():
        seen.add(start[0])
        if {"sigmas", "step"} <= wires.inputs(start[0]).keys():
            yield Place(start[0], "step")
        start = wires.source(start[0], "sigmas")


def _at_home(wires: Wires, found: list[Sampler]) -> list[Sampler]:
    """Return the samplers with places to write to: the ends of links where they are theirs."""
    peers: dict[str, set[Place]] = {name: set() for name in SETTINGS}
    for sampler in found:
        for name, places in sampler.places.items():
            peers[name].update(places)
        peers["steps"].update(sampler.counted)

    def at_home(name: str, places: tuple[Place, ...]) -> tuple[Place, ...]:
        return tuple(dict.fromkeys(wires.home(place, peers[name]) for place in places))

    return [
        Sampler(
            sampler.node_id,
            {
                name: at_home(name, sampler.places[name])
                for name in SETTINGS
                if name in sampler.places
            },
            sampler.fixed,
            at_home("steps", sampler.counted),
            sampler.adds_noise,
            sampler.before,
            sampler.same_size,
        )
        for sampler in found
    ]
