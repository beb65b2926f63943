"""Values written into a graph that is there: by its nodes, by parameters, by settings; pure.

What is named most exactly wins: an input of a node, then a parameter of the named workflow that
the graph was made of, then a sampler's setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gateway import graph
from gateway.workflows import changes, values
from gateway.workflows.sampling import samplers
from gateway.workflows.sampling.samplers import SETTINGS, Place
from gateway.workflows.values import Wrong
from gateway.workflows.workflow import Parameter, Workflow

_INPUTS = "inputs."
_SHOWN = 30
#: Longer than any node and its input are called.
_NAME_LENGTH = 1000
#: Mistakes that are looked for: each costs time.
_MOST_WRONG = 100
#: Mistakes that are told with the closest name: to find it takes long in a large graph.
_MOST_CLOSE = 5

#: What a sampler's setting may be, as a parameter of a workflow is told.
_KINDS: Mapping[str, Parameter] = {
    one.name: one
    for one in (
        Parameter("seed", "seed"),
        Parameter("steps", "integer", min=1, max=10_000),
        Parameter("cfg", "float", min=0, max=100),
        Parameter("sampler", "string", min=1),
        Parameter("scheduler", "string", min=1),
        Parameter("denoise", "float", min=0, max=1),
        Parameter("prompt", "string"),
        Parameter("negative_prompt", "string"),
        Parameter("width", "integer", min=1, max=65_536),
        Parameter("height", "integer", min=1, max=65_536),
    )
}


@dataclass(frozen=True)
class Overridden:
    """A graph with other values in it."""

    workflow: graph.Graph
    #: Place in the graph -> place in the request.
    places: Mapping[str, str] = field(default_factory=dict)
    #: One sentence for each value that is another.
    changes: list[str] = field(default_factory=list)


def overridden(
    workflow: graph.Graph,
    given: Mapping[str, Any],
    source: Workflow | None,
    random_seed: Callable[[], int],
) -> Overridden:
    """Return the graph with these values; `source` is the named workflow that it was made of.

    Raises InvalidParameters with all that is wrong.
    """
    writing = _Writing(workflow, source, random_seed)
    for name, value in given.items():
        writing.add(name, value)
        if len(writing.problems) >= _MOST_WRONG:
            break
    if writing.problems:
        failure = values.refusal(writing.problems)
        failure.location = f"overrides.{writing.problems[0]['parameter']}"
        raise failure
    edits = writing.by_setting | writing.by_parameter | writing.by_node
    made = graph.with_inputs(workflow, {place: value for place, (value, _) in edits.items()})
    told = {
        f"prompt.{place.node_id}.inputs.{place.name}": f"overrides.{name}"
        for place, (_, name) in edits.items()
    }
    return Overridden(made, told, changes.told(workflow, made))


#: What to write where, and the override that says so.
_Edits = dict[Place, tuple[Any, str]]


class _Writing:
    """Sorts out what each override means."""

    def __init__(
        self, workflow: graph.Graph, source: Workflow | None, random_seed: Callable[[], int]
    ) -> None:
        self._workflow = workflow
        self._parameters = _standing(source, workflow)
        self._random_seed = random_seed
        self.by_node: _Edits = {}
        self.by_parameter: _Edits = {}
        self.by_setting: _Edits = {}
        self.problems: list[dict[str, Any]] = []

    def add(self, name: str, value: Any) -> None:
        """Take one override."""
        place = _place(self._workflow, name)
        parameter = self._parameters.get(name)
        if place is not None:
            self.by_node[place] = value, name
        elif parameter is not None:
            checked = self._checked(parameter, value)
            self.by_parameter |= dict.fromkeys(parameter.places, (checked, name))
        elif name in _KINDS:
            self._set(name, self._checked(_KINDS[name], value))
        else:
            self.problems.append(self._unknown(name, value))

    def _checked(self, parameter: Parameter, value: Any) -> Any:
        try:
            checked = _fitting(parameter, value)
        except Wrong as wrong:
            told = values.problem(parameter.name, value, values.allowed(parameter), str(wrong))
            self.problems.append(told)
            return None
        is_drawn = parameter.type == "seed" and checked == values.RANDOM
        return _within(parameter, self._random_seed()) if is_drawn else checked

    def _set(self, name: str, value: Any) -> None:
        if value is None:
            return
        found, homeless = samplers.edits(self._workflow, {name: value})
        if homeless:
            says = "what this graph has a place for: " + self._all()
            message = "no sampler of this graph has a place for it"
            self.problems.append(values.problem(name, value, says, message))
        self.by_setting |= {place: (told, name) for place, told in found.items()}

    def _unknown(self, name: str, value: Any) -> dict[str, Any]:
        known = [*self._parameters, *SETTINGS, *self._inputs]
        known = known if len(self.problems) < _MOST_CLOSE else []
        sought = name[:_NAME_LENGTH].replace(f".{_INPUTS}", ".")
        close = difflib.get_close_matches(sought, known, n=1)
        meant = f"; did you mean {close[0]}" if close else ""
        return values.problem(name, value, self._all(name), f"there is nothing of this name{meant}")

    def _all(self, name: str = "") -> str:
        node_id = name.partition(".")[0]
        places = self._inputs
        own = [place for place in places if place.startswith(f"{node_id}.")]
        told = [*self._parameters, *self._settings]
        inputs = ", ".join((own or places)[:_SHOWN])
        more = ", ..." if len(own or places) > _SHOWN else ""
        by_node = f"NODE.INPUT: {inputs}{more}"
        return f"{', '.join(dict.fromkeys(told))}; or {by_node}" if told else by_node

    @cached_property
    def _inputs(self) -> list[str]:
        return list(_inputs(self._workflow))

    @cached_property
    def _settings(self) -> list[str]:
        found = samplers.samplers(self._workflow)
        return [name for name in SETTINGS if any(name in one.places for one in found)]


def _fitting(parameter: Parameter, value: Any) -> Any:
    """Return a value as its parameter has it; raises Wrong."""
    checked = values.checked(parameter, value)
    if parameter.type == "lora" and checked == values.NO_LORA:
        raise Wrong("its node stays, for this graph is made already; a strength of 0 is no LoRA")
    return checked


def _within(parameter: Parameter, seed: int) -> int:
    low = 0 if parameter.min is None else int(parameter.min)
    high = values.LARGEST_INTEGER if parameter.max is None else int(parameter.max)
    return low + seed % (high - low + 1)


def _standing(source: Workflow | None, workflow: graph.Graph) -> dict[str, Parameter]:
    """Return the parameters that can be set where they stand: all their inputs are there.

    One that takes nodes out, or has done so, is none of these.
    """
    found = {} if source is None else source.parameters
    return {
        name: one
        for name, one in found.items()
        if one.places and not one.toggle and all(_is_there(workflow, *at) for at in one.places)
    }


def _is_there(workflow: graph.Graph, node_id: str, name: str) -> bool:
    return name in workflow.get(node_id, {}).get("inputs", {})


def _place(workflow: graph.Graph, key: str) -> Place | None:
    """Return the input that `NODE.INPUT` or `NODE.inputs.INPUT` names; both may have dots."""
    pieces = key.split(".") if len(key) <= _NAME_LENGTH else []
    for at in range(1, len(pieces)):
        node_id, name = ".".join(pieces[:at]), ".".join(pieces[at:])
        for one in (name, name.removeprefix(_INPUTS)):
            if _is_there(workflow, node_id, one):
                return Place(node_id, one)
    return None


def _inputs(workflow: graph.Graph) -> Iterable[str]:
    """Yield the inputs that hold a value: what is wired can be given, too, and is not proposed."""
    for node_id, node in workflow.items():
        for name, value in node.get("inputs", {}).items():
            if not graph.is_link(value):
                yield f"{node_id}.{name}"
