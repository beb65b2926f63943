"""The texts that a conditioning is made of; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gateway import graph
from gateway.workflows.sampling.links import Place, Wires

Role = Literal["positive", "negative"]

#: Inputs of text encoders that hold a prompt.
TEXTS = (
    "text",
    "prompt",
    "text_g",
    "text_l",
    "clip_l",
    "clip_g",
    "t5xxl",
    "llama",
    "bert",
    "mt5xl",
    "user_prompt",
    "tags",
    "lyrics",
    "caption",
)
#: Where one node encodes both prompts.
BOTH: dict[Role, tuple[str, ...]] = {
    "positive": ("positive_prompt", "positive"),
    "negative": ("negative_prompt", "negative"),
}
#: Links that never carry a conditioning.
_OTHERS = re.compile(
    r"clip|vae|model|image|pixels|mask|latent|samples|control|style|audio|noise|video|seed"
)


def texts(wires: Wires, start: tuple[str, int] | None, role: Role) -> list[Place]:
    """Return the inputs that hold the texts of a conditioning, in the order of the graph.

    Nodes with a positive and a negative wire pass the first on by their output 0. What was zeroed
    out has no text.
    """
    found: list[Place] = []
    waiting = [(start, role)] if start else []
    seen: set[tuple[str, Role]] = set()
    while waiting and wires.spend():
        (node_id, output), role = waiting.pop()
        inputs = wires.inputs(node_id)
        role = _role(inputs, output, role)
        if (node_id, role) in seen or "ZeroOut" in wires.class_of(node_id):
            continue
        seen.add((node_id, role))
        onward = [wires.source(node_id, name) for name in _wires(inputs, role)]
        here = [] if onward else [Place(node_id, name) for name in _texts(inputs, role)]
        found += here
        if not onward and not here:
            onward = [wires.source(node_id, name) for name in _passes_on(inputs)]
        waiting += [(source, role) for source in reversed(onward) if source]
    return found


def _role(inputs: Mapping[str, Any], output: int, role: Role) -> Role:
    pair = any(graph.is_link(inputs.get(name)) for name in ("positive", "negative"))
    # A node that passes its model on as well, or a bundle of all, has other outputs first.
    if not pair or "model" in inputs:
        return role
    return "positive" if output == 0 else "negative"


def _wires(inputs: Mapping[str, Any], role: Role) -> list[str]:
    links = [name for name, value in inputs.items() if graph.is_link(value)]
    pairs = [name for name in links if name.startswith(("positive", "negative"))]
    if pairs:
        return [name for name in pairs if name.startswith(role)]
    return [name for name in links if name.startswith("cond")]


def _texts(inputs: Mapping[str, Any], role: Role) -> Iterator[str]:
    both = [name for name in BOTH[role] if isinstance(inputs.get(name), str)]
    for name in both or TEXTS:
        if name in inputs and (isinstance(inputs[name], str) or graph.is_link(inputs[name])):
            yield name


def _passes_on(inputs: Mapping[str, Any]) -> list[str]:
    """Return the one wire that a reroute or a switch passes on, as far as names tell."""
    chosen = f"input{inputs.get('select')}"
    if chosen in inputs:
        return [chosen]
    links = [name for name, value in inputs.items() if graph.is_link(value)]
    return [name for name in links if not _OTHERS.search(name)][:1]
