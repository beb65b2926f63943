"""Which nodes and inputs of a graph a manifest means; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway import graph
from gateway.workflows.files import fields
from gateway.workflows.files.mistakes import Mistake, Spot, near, shown
from gateway.workflows.sampling.samplers import Place

_INPUTS = "inputs."
_BIND = "a target is NODE.inputs.INPUT, {title: ..., input: ...} or {class: ..., input: ...}"
_NODE = "a node is its id, {title: ...} or {class: ...}"
_TARGET = {"title": fields.text, "class": fields.text, "input": fields.text, "all": fields.flag}
_SHOWN = 8


@dataclass(frozen=True)
class Nodes:
    """The nodes of a graph, by each of the ways to name them."""

    workflow: graph.Graph
    #: `title` or `class` -> what they are called -> ids.
    called: Mapping[str, Mapping[str, Sequence[str]]]

    @classmethod
    def of(cls, workflow: graph.Graph) -> Nodes:
        """Look them up once for all targets of a manifest."""
        titles: dict[str, list[str]] = {}
        classes: dict[str, list[str]] = {}
        for node_id, node in workflow.items():
            classes.setdefault(node["class_type"], []).append(node_id)
            meta = node.get("_meta")
            title = meta.get("title") if isinstance(meta, dict) else None
            if isinstance(title, str) and title:
                titles.setdefault(title, []).append(node_id)
        return cls(workflow, {"title": titles, "class": classes})


def bound(spot: Spot, nodes: Nodes, wrong: list[Mistake]) -> tuple[Place, ...]:
    """Return the inputs that `bind` names: one target, or a list of them."""
    found = [place for target in _each(spot) for place in _inputs(target, nodes, wrong)]
    if not found and spot.value == []:
        wrong.append(spot.mistake(f"this is bound to nothing; {_BIND}"))
    return tuple(dict.fromkeys(found))


def named(spot: Spot, nodes: Nodes, wrong: list[Mistake]) -> tuple[str, ...]:
    """Return the nodes that `toggle` or `outputs` names: one, or a list of them."""
    found = [node for target in _each(spot) for node in _ids(target, nodes, wrong)]
    return tuple(dict.fromkeys(found))


def _each(spot: Spot) -> Iterator[Spot]:
    if isinstance(spot.value, list):
        yield from (spot.at(index) for index in range(len(spot.value)))
    else:
        yield spot


def _inputs(target: Spot, nodes: Nodes, wrong: list[Mistake]) -> Iterator[Place]:
    if isinstance(target.value, str):
        found = _split(target.value, nodes.workflow)
        if isinstance(found, str):
            wrong.append(target.mistake(found))
            return
        places = [found]
    else:
        parts = _parts(target, _BIND, wrong)
        if parts is None:
            return
        if "input" not in parts:
            wrong.append(target.mistake(f"input is missing; {_BIND}"))
            return
        name = parts["input"].value
        places = [Place(node, name) for node in _matching(target, parts, nodes, wrong)]
    for place in places:
        if problem := _problem(place, nodes.workflow):
            wrong.append(target.mistake(problem))
        else:
            yield place


def _ids(target: Spot, nodes: Nodes, wrong: list[Mistake]) -> Sequence[str]:
    value = target.value
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        if str(value) in nodes.workflow:
            return [str(value)]
        said = _no_node(str(value), nodes.workflow)
        if isinstance(value, int) and any(":" in node_id for node_id in nodes.workflow):
            # YAML counts in sixties: 12:5 is 725.
            said += "; an id with : in it stands in quotes"
        wrong.append(target.mistake(said))
        return []
    parts = _parts(target, _NODE, wrong)
    if parts is None:
        return []
    if "input" in parts:
        wrong.append(parts["input"].mistake_of_key(f"a whole node has no input; {_NODE}"))
        return []
    return _matching(target, parts, nodes, wrong)


def _parts(target: Spot, form: str, wrong: list[Mistake]) -> dict[str, Spot] | None:
    """Return the keys of a target that is a mapping; None when something is wrong with it."""
    if not isinstance(target.value, dict):
        wrong.append(target.mistake(form))
        return None
    before = len(wrong)
    parts = known_parts(target, wrong)
    if len(wrong) == before and ("title" in parts) == ("class" in parts):
        wrong.append(target.mistake(f"either title or class is needed; {form}"))
    return parts if len(wrong) == before else None


def known_parts(target: Spot, wrong: list[Mistake]) -> dict[str, Spot]:
    """Return what a target says, less keys with nothing behind them."""
    parts = fields.known_fields(target, _TARGET, wrong)
    return {key: part for key, part in parts.items() if part.value is not None}


def _matching(
    target: Spot, parts: dict[str, Spot], nodes: Nodes, wrong: list[Mistake]
) -> Sequence[str]:
    key = "title" if "title" in parts else "class"
    called, wanted = nodes.called[key], parts[key].value
    found = called.get(wanted, ())
    what = "titled" if key == "title" else "of class"
    if not found:
        said = f"no node is {what} {shown(wanted)}; {near(wanted, called)}"
        wrong.append(parts[key].mistake(said))
    elif len(found) > 1 and not ("all" in parts and parts["all"].value):
        some = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        said = f"{len(found)} nodes are {what} {shown(wanted)} ({some}); name one by its id, or say"
        wrong.append(target.mistake(f"{said} all: true"))
        return []
    return found


def _split(target: str, workflow: graph.Graph) -> Place | str:
    """Return the input that NODE.inputs.INPUT means, or what is wrong with it."""
    dots = [index for index, character in enumerate(target) if character == "."]
    for dot in dots:
        node_id, name = target[:dot], target[dot + 1 :].removeprefix(_INPUTS)
        if node_id in workflow and name:
            return Place(node_id, name)
    if not dots:
        return f"{shown(target)} names no input; {_BIND}"
    return _no_node(target[: dots[0]], workflow)


def _no_node(node_id: str, workflow: graph.Graph) -> str:
    some = ", ".join(list(workflow)[:_SHOWN]) + (", …" if len(workflow) > _SHOWN else "")
    return f"there is no node {shown(node_id)} in the workflow; it has {some}"


def _problem(place: Place, workflow: graph.Graph) -> str | None:
    inputs = workflow[place.node_id].get("inputs", {})
    where = f"{place.node_id}.inputs.{place.name}"
    if place.name not in inputs:
        free = [name for name, value in inputs.items() if not graph.is_link(value)]
        class_type = workflow[place.node_id]["class_type"]
        said = f"the file gives {class_type} {place.node_id} no input {place.name}"
        return f"{said}; {near(place.name, free)}"
    if graph.is_link(inputs[place.name]):
        other = inputs[place.name][0]
        return f"{where} is a link to node {other}, and no value; bind to an input of that node"
    return None
