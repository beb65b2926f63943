"""What made an output, told from the graph that ran; pure.

The sampler is the nearest one upstream of the output: with a second pass that refines the first,
the second. What it does not know itself is told by the sampler whose latent it goes on with: the
seed where it adds no noise of its own, the size where it keeps that of the latent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway import graph
from gateway.workflows.sampling.links import Wires
from gateway.workflows.sampling.samplers import SIZES, Place, Sampler, samplers, values
from gateway.workflows.sampling.weights import AppliedLora, is_off, loras_of, models_of

#: Files that are told of one output.
MOST_FILES = 200
#: The order in which the wires of a node are followed, so that LoRAs come as they are applied.
_FIRST = ("latent", "samples")
_SECOND = ("model", "guider")
#: Setting -> inputs, of nodes that have a service make the picture.
_OF_SERVICES = {
    "prompt": ("prompt", "prompt_text"),
    "negative_prompt": ("negative_prompt",),
    "seed": ("seed",),
    "width": ("width",),
    "height": ("height",),
}


@dataclass(frozen=True)
class Model:
    """A file of weights, and its folder of models."""

    folder: str
    name: str


@dataclass(frozen=True)
class Recipe:
    """What made an output; None is what the graph does not tell."""

    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    denoise: float | None = None
    width: int | None = None
    height: int | None = None
    #: In the order applied.
    loras: tuple[AppliedLora, ...] = ()
    models: tuple[Model, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for a record."""
        return asdict(self) | {
            "loras": [asdict(lora) for lora in self.loras],
            "models": [asdict(model) for model in self.models],
        }


def recipe(
    workflow: graph.Graph, output_node_id: str, all_samplers: Sequence[Sampler] | None = None
) -> Recipe:
    """Return what made the outputs of a node; of a node that is not there, nothing is known.

    `all_samplers`: the graph's samplers, where they are known.
    """
    if output_node_id not in workflow:
        return Recipe()
    wires = Wires(workflow)
    upstream = list(_upstream(wires, output_node_id))
    order = list(dict.fromkeys(_in_order(wires, output_node_id)))
    all_samplers = samplers(workflow) if all_samplers is None else all_samplers
    found = {sampler.node_id: sampler for sampler in all_samplers}
    nearest = next((found[node_id] for node_id in upstream if node_id in found), None)
    told = _told(workflow, nearest, found) if nearest else _served(workflow, wires, upstream)
    loras = [lora for node_id in order for lora in loras_of(wires, node_id)]
    models = [
        model
        for node_id in order
        if not is_off(wires, node_id)
        for model in models_of(wires, node_id)
    ]
    files = [Model(*model) for model in dict.fromkeys(models)]
    return Recipe(**told, loras=tuple(loras[:MOST_FILES]), models=tuple(files[:MOST_FILES]))


def _told(workflow: graph.Graph, sampler: Sampler, found: dict[str, Sampler]) -> dict[str, Any]:
    told = values(workflow, sampler)
    seen = {sampler.node_id}
    noiseless, sizeless = not sampler.adds_noise, sampler.same_size
    while sampler.before is not None and sampler.before not in seen and (noiseless or sizeless):
        sampler = found[sampler.before]
        seen.add(sampler.node_id)
        earlier = values(workflow, sampler)
        if noiseless and sampler.adds_noise and "seed" in earlier:
            told["seed"], noiseless = earlier["seed"], False
        if sizeless:
            told = {name: earlier[name] for name in SIZES if name in earlier} | told
            sizeless = sampler.same_size
    return told


def _served(workflow: graph.Graph, wires: Wires, upstream: list[str]) -> dict[str, Any]:
    """Return what the nearest node was told that has a prompt of its own: no sampler was there."""
    for node_id in upstream:
        inputs = wires.inputs(node_id)
        places = {
            setting: (Place(node_id, name),)
            for setting, names in _OF_SERVICES.items()
            for name in names
            if name in inputs
        }
        if "prompt" in places:
            return values(workflow, Sampler(node_id, places))
    return {}


def _upstream(wires: Wires, start: str) -> Iterator[str]:
    """Yield the node and all that it needs, the nearest first."""
    seen, waiting = {start}, deque([start])
    while waiting:
        current = waiting.popleft()
        yield current
        for source in _sources(wires, current):
            if source not in seen:
                seen.add(source)
                waiting.append(source)


def _in_order(wires: Wires, start: str) -> Iterator[str]:
    """Yield the node and all that it needs, each behind what it needs itself."""
    seen = {start}
    stack = [(start, _sources(wires, start))]
    while stack:
        current, sources = stack[-1]
        following = next((source for source in sources if source not in seen), None)
        if following is None:
            stack.pop()
            yield current
        else:
            seen.add(following)
            stack.append((following, _sources(wires, following)))


def _sources(wires: Wires, node_id: str) -> Iterator[str]:
    """Yield the nodes that a node needs: what was sampled before it, its model, then others."""
    links = [
        (name, value[0]) for name, value in wires.inputs(node_id).items() if wires.leads(value)
    ]
    if len(links) > 1:
        links.sort(key=lambda link: _rank(link[0]))
    return iter([source for _, source in links])


def _rank(wire: str) -> int:
    return 0 if wire.startswith(_FIRST) else 1 if wire.startswith(_SECOND) else 2
