"""Parameters, a preset and LoRAs make the graph that runs; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from gateway import graph
from gateway.workflows import bypass, changes, values
from gateway.workflows.loras import injection as loras
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling import presets
from gateway.workflows.sampling.presets import Preset
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow


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
    wanted: Sequence[Lora],
    random_seed: Callable[[], int],
) -> Built:
    """Return the graph for these values.

    What wins: a value that was given, then the preset, then the parameter's default, then what
    stands in the graph. Raises InvalidParameters with all that is wrong, PresetRefused,
    LoraRefused.
    """
    assert workflow.graph is not None, "a workflow in Python is built by its own code"
    parameters = workflow.parameters
    told = _drawn(parameters, values.check(parameters, given), random_seed)
    defaults = {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in told and parameter.default is not None
    }
    defaults = _drawn(parameters, defaults, random_seed)
    made = graph.with_inputs(workflow.graph, dict(_written(parameters, defaults)))
    given_places = {place for name in told for place in parameters[name].places}
    made, warnings = _with_preset(made, preset, given_places)
    made = graph.with_inputs(made, dict(_written(parameters, told)))
    made = _switched(made, parameters, {**defaults, **told})
    made = _wanted(made, workflow.outputs)
    made = loras.with_loras(made, wanted)
    return Built(made, warnings, changes.told(workflow.graph, made), _places(parameters))


def edited(workflow: graph.Graph, preset: Preset | None, wanted: Sequence[Lora]) -> Built:
    """Return any graph with a preset and LoRAs in it; raises PresetRefused, LoraRefused."""
    made, warnings = _with_preset(workflow, preset)
    made = loras.with_loras(made, wanted)
    return Built(made, warnings, changes.told(workflow, made))


def used(workflow: Workflow, built: graph.Graph) -> dict[str, Any]:
    """Return the values of all parameters, as a graph that was built of a workflow has them.

    What speaks of nodes that were taken out has no value, and is left out; a LoRA is `"None"`,
    and a boolean that took them out is false.
    """
    found = {}
    for name, parameter in workflow.parameters.items():
        there = [place for place in parameter.places if place.node_id in built]
        if there:
            place = there[0]
            found[name] = built[place.node_id].get("inputs", {}).get(place.name)
        elif parameter.type == "lora" and parameter.places:
            found[name] = values.NO_LORA
        elif parameter.toggle:
            found[name] = any(node_id in built for node_id in parameter.toggle)
    return found


def _drawn(
    parameters: Mapping[str, Parameter], settled: Mapping[str, Any], random_seed: Callable[[], int]
) -> dict[str, Any]:
    """Draw the seeds that are to be drawn."""
    drawn = dict(settled)
    for name, value in settled.items():
        if parameters[name].type == "seed" and value in (values.RANDOM, -1):
            drawn[name] = _within(parameters[name], random_seed())
    return drawn


def _within(parameter: Parameter, seed: int) -> int:
    low = 0 if parameter.min is None else int(parameter.min)
    high = values.LARGEST_INTEGER if parameter.max is None else int(parameter.max)
    return low + seed % (high - low + 1)


def _written(
    parameters: Mapping[str, Parameter], settled: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield what to write where; a node that is taken out is not written to."""
    for name, value in settled.items():
        parameter = parameters[name]
        if parameter.type == "lora" and value == values.NO_LORA:
            continue
        for place in parameter.places:
            yield place, value


def _with_preset(
    made: graph.Graph, preset: Preset | None, kept: AbstractSet[Place] = frozenset()
) -> tuple[graph.Graph, list[str]]:
    if preset is None:
        return made, []
    made, warnings = presets.apply(made, preset, kept)
    return made, list(warnings)


def _switched(
    made: graph.Graph, parameters: Mapping[str, Parameter], settled: Mapping[str, Any]
) -> graph.Graph:
    """Take out the nodes of booleans that are false, and of LoRAs that are "None"."""
    gone: dict[str, str] = {}
    for name, value in settled.items():
        for node_id in _taken_out(parameters[name], value):
            gone.setdefault(node_id, name)
    if not gone:
        return made
    made, gaps = bypass.without(made, gone)
    if gaps:
        raise values.refusal([_gap(made, gone, settled, gap) for gap in gaps])
    return made


def _taken_out(parameter: Parameter, value: Any) -> Sequence[str]:
    if parameter.type == "lora" and value == values.NO_LORA:
        return [place.node_id for place in parameter.places]
    return parameter.toggle if value is False else ()


def _gap(
    made: graph.Graph, gone: Mapping[str, str], settled: Mapping[str, Any], gap: bypass.Gap
) -> dict[str, Any]:
    name = gone[gap.node_id]
    consumer = f"{gap.consumer_id} ({made[gap.consumer_id]['class_type']})"
    message = (
        f"the node {gap.node_id} cannot be taken out: nothing can stand in its place at the input "
        f"{gap.name} of the node {consumer}"
    )
    kept = "true" if settled[name] is False else "the name of a LoRA, or its URL"
    return values.problem(name, settled[name], kept, message)


def _wanted(made: graph.Graph, outputs: Sequence[str]) -> graph.Graph:
    """Keep what these nodes need; all, where none are named or none of them is left."""
    ends = [node_id for node_id in outputs if node_id in made]
    if not ends:
        return made
    needed = {node_id for end in ends for node_id in graph.reached_from(made, end)}
    return {node_id: node for node_id, node in made.items() if node_id in needed}


def _places(parameters: Mapping[str, Parameter]) -> dict[str, str]:
    return {
        f"prompt.{place.node_id}.inputs.{place.name}": f"input.{name}"
        for name, parameter in parameters.items()
        for place in parameter.places
    }
