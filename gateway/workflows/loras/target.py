"""Which model chains of a graph a LoRA is for; pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway import errors, graph
from gateway.workflows.loras import chains as model_chains
from gateway.workflows.loras import wires as model_wires
from gateway.workflows.loras.chains import Chain

#: Classes that begin so give a model that ComfyUI's own LoRA nodes cannot change.
_FOREIGN = {
    "WanVideo": "WanVideoLoraSelect",
    "HyVideo": "HyVideoLoraSelect",
    "Nunchaku": "the LoRA loaders of ComfyUI-nunchaku",
}
#: Where a request speaks of them.
_PLACE = "loras"
_SHOWN = 10
_LENGTH = 60


def chosen(workflow: graph.Graph, found: list[Chain], target: str | None) -> list[Chain]:
    """Return the chains that a target names; without one, all. Raises LoraRefused."""
    open_to_loras = [chain for chain in found if _foreign(workflow, chain) is None]
    if target is None:
        if not open_to_loras:
            raise _no_place(workflow, found)
        return open_to_loras
    named = _named(workflow, found, target)
    if not named:
        raise _no_target(workflow, found, target)
    if not all(chain in open_to_loras for chain in named):
        raise _no_place(workflow, named)
    return named


def _named(workflow: graph.Graph, found: list[Chain], target: str) -> list[Chain]:
    """Read it as a node's id, else as a title, else as the part for much or for little noise."""
    if target in workflow:
        return _through(workflow, found, target)
    titled = [node_id for node_id, node in workflow.items() if model_chains.title(node) == target]
    through = [chain for node_id in titled for chain in _through(workflow, found, node_id)]
    if through:
        return [chain for chain in found if chain in through]
    side = target.lower().replace(" ", "_").removesuffix("_noise")
    return [chain for chain in found if chain.side == side]


def _through(workflow: graph.Graph, found: list[Chain], node_id: str) -> list[Chain]:
    """Return the chains that a node is part of; a sampler is, by its guider, too."""
    guider = workflow[node_id].get("inputs", {}).get("guider")
    ids = {node_id, guider[0]} if graph.is_link(guider) else {node_id}
    return [chain for chain in found if not ids.isdisjoint(chain.members)]


def _foreign(workflow: graph.Graph, chain: Chain) -> str | None:
    class_type = str(workflow[chain.source]["class_type"])
    for beginning, instead in _FOREIGN.items():
        if class_type.startswith(beginning):
            return instead
    return None


def _no_place(workflow: graph.Graph, found: list[Chain]) -> errors.LoraRefused:
    for chain in found:
        if instead := _foreign(workflow, chain):
            return errors.LoraRefused(
                f"LoraLoader cannot change the model of {_told(workflow, chain.source)}.",
                hint=f"Put the LoRA into the graph with {instead}.",
                location=_PLACE,
            )
    unused = [
        node_id for node_id, node in workflow.items() if node["class_type"] in model_wires.LOADERS
    ]
    if unused:
        return errors.LoraRefused(
            f"Nothing in the workflow takes the model of {_told(workflow, unused[0])}.",
            hint="Connect the loader to a sampler, or leave the LoRAs out.",
            location=_PLACE,
        )
    return errors.LoraRefused(
        "The workflow has no model loader whose model goes to a sampler.",
        hint="Leave the LoRAs out, or add a loader such as CheckpointLoaderSimple.",
        location=_PLACE,
    )


def _no_target(workflow: graph.Graph, found: list[Chain], target: str) -> errors.LoraRefused:
    if not found:
        return _no_place(workflow, found)
    if target in workflow:
        reason = f"The target, {_told(workflow, target)}, is no part of a model chain"
    else:
        reason = f"The target {target[:_LENGTH]!r} names no model chain of the workflow"
    names = list(dict.fromkeys(_names(workflow, found)))
    return errors.LoraRefused(
        f"{reason}; those there are: "
        f"{', '.join(_told(workflow, chain.source) for chain in found[:_SHOWN])}.",
        hint=f"Name one of {', '.join(names[: 2 * _SHOWN])}; or leave target out: all of them.",
        targets=names,
        location=_PLACE,
    )


def _names(workflow: graph.Graph, found: list[Chain]) -> Iterator[str]:
    for chain in found:
        if chain.side is not None:
            yield chain.side
    for chain in found:
        yield chain.source[:_LENGTH]


def _told(workflow: graph.Graph, node_id: str) -> str:
    node = workflow[node_id]
    name = model_chains.title(node)[:_LENGTH]
    called = f", {name!r}" if name else ""
    return f"node {node_id[:_LENGTH]} ({str(node['class_type'])[:_LENGTH]}{called})"
