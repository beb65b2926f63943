"""Values written into a graph that is there: what each name means, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway import errors
from gateway.workflows.overrides import overridden
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow
from tests.sampling import sampler

GRAPH = sampler(20, 7)
DRAWN = 12345


def named(*parameters: Parameter) -> Workflow:
    return Workflow("portrait", {one.name: one for one in parameters})


def written(given: dict[str, Any], source: Workflow | None = None) -> dict[str, Any]:
    """Return what is another value now: `NODE.INPUT` -> value."""
    made = overridden(GRAPH, given, source, lambda: DRAWN).workflow
    return {
        f"{node_id}.{name}": value
        for node_id, node in made.items()
        for name, value in node["inputs"].items()
        if value != GRAPH[node_id]["inputs"][name]
    }


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"3.seed": 8}, {"3.seed": 8}),
        ({"3.inputs.seed": 8}, {"3.seed": 8}),
        ({"3.steps": 30, "6.text": "c"}, {"3.steps": 30, "6.text": "c"}),
        ({"9.filename_prefix": "again"}, {"9.filename_prefix": "again"}),
        ({"seed": 2**64 - 1}, {"3.seed": 2**64 - 1}),
        ({"seed": "random"}, {"3.seed": DRAWN}),
        ({"seed": -1}, {"3.seed": DRAWN}),
        ({"prompt": "c", "negative_prompt": "d"}, {"6.text": "c", "7.text": "d"}),
        (
            {"sampler": "ddim", "scheduler": "karras"},
            {"3.sampler_name": "ddim"} | {"3.scheduler": "karras"},
        ),
        ({"width": 128, "height": 96}, {"5.width": 128, "5.height": 96}),
        ({"steps": 5, "cfg": 3.5, "denoise": 0.5}, {"3.steps": 5, "3.cfg": 3.5, "3.denoise": 0.5}),
        # A wire may give way to a value, or to another wire.
        ({"3.latent_image": ["8", 0]}, {"3.latent_image": ["8", 0]}),
        # What is named most exactly wins, in whatever order.
        ({"3.seed": 8, "seed": 9}, {"3.seed": 8}),
        ({"seed": 9, "3.seed": 8}, {"3.seed": 8}),
    ],
)
def test_what_a_name_means(given: dict[str, Any], found: dict[str, Any]) -> None:
    assert written(given) == found


def test_a_parameter_wins_over_the_setting_of_its_name() -> None:
    other = Parameter("prompt", "string", places=(Place("7", "text"),))
    assert written({"prompt": "c"}, named(other)) == {"7.text": "c"}
    assert written({"prompt": "c", "7.text": "d"}, named(other)) == {"7.text": "d"}
    seed = Parameter("seed", "seed", max=99, places=(Place("3", "seed"),))
    assert written({"seed": "random"}, named(seed)) == {"3.seed": DRAWN % 100}


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter("seed", "integer", places=(Place("30", "seed"),)),
        Parameter("seed", "integer", places=(Place("3", "noise"),)),
        Parameter("seed", "boolean", places=(Place("3", "steps"),), toggle=("3",)),
        Parameter("seed", "integer"),
    ],
)
def test_a_parameter_that_does_not_stand_in_this_graph_is_none(parameter: Parameter) -> None:
    assert written({"seed": 8}, named(parameter)) == {"3.seed": 8}


def test_nodes_of_groups_and_inputs_with_dots_are_found() -> None:
    graph = {
        "12:3": {"class_type": "A", "inputs": {"images.image0": 1, "text": "a"}},
        "a.b": {"class_type": "B", "inputs": {"c": 1}},
    }
    given = {"12:3.images.image0": 2, "12:3.inputs.text": "b", "a.b.c": 3}
    made = overridden(graph, given, None, lambda: DRAWN)
    assert made.workflow["12:3"]["inputs"] == {"images.image0": 2, "text": "b"}
    assert made.workflow["a.b"]["inputs"] == {"c": 3}
    assert made.places["prompt.a.b.inputs.c"] == "overrides.a.b.c"


def test_the_graph_that_was_given_stays_as_it_is() -> None:
    before = str(GRAPH)
    made = overridden(GRAPH, {"seed": 8}, None, lambda: DRAWN)
    assert str(GRAPH) == before
    assert made.changes == ["3.inputs.seed: 7 -> 8"]
    assert made.places == {"prompt.3.inputs.seed": "overrides.seed"}


@pytest.mark.parametrize(
    ("given", "parameter", "says"),
    [
        ({"3.sed": 1}, "3.sed", ["3.seed", "3.steps"]),
        ({"33.seed": 1}, "33.seed", ["3.seed"]),
        ({"sead": 1}, "sead", ["seed", "steps"]),
        ({"": 1}, "", ["seed"]),
        ({"3": 1}, "3", ["3.seed"]),
        ({"seed": "7"}, "seed", ["integer"]),
        ({"seed": 2**64}, "seed", ["18446744073709551615"]),
        ({"steps": 0}, "steps", ["from 1"]),
        ({"steps": True}, "steps", ["integer"]),
        ({"denoise": 1.5}, "denoise", ["from 0 to 1"]),
        ({"prompt": 7}, "prompt", ["text"]),
        ({"width": None}, "width", ["integer"]),
    ],
)
def test_what_is_not_there_is_refused(
    given: dict[str, Any], parameter: str, says: list[str]
) -> None:
    with pytest.raises(errors.InvalidParameters) as caught:
        written(given)
    [told] = caught.value.details["errors"]
    assert told["parameter"] == parameter
    assert caught.value.location == f"overrides.{parameter}"
    for one in says:
        assert one in f"{told['allowed']} {told['message']}"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(errors.InvalidParameters) as caught:
        written({"3.sed": 1, "steps": "many", "seed": 8})
    assert [one["parameter"] for one in caught.value.details["errors"]] == ["3.sed", "steps"]


def test_a_setting_without_a_place_is_refused() -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"color": 1}}}
    with pytest.raises(errors.InvalidParameters, match="no sampler") as caught:
        overridden(graph, {"cfg": 7}, None, lambda: DRAWN)
    allowed = caught.value.details["errors"][0]["allowed"]
    assert allowed == "what this graph has a place for: NODE.INPUT: 1.color"


def test_a_lora_stays_where_it_is() -> None:
    graph = {"2": {"class_type": "LoraLoader", "inputs": {"lora_name": "a.safetensors"}}}
    source = named(Parameter("lora", "lora", places=(Place("2", "lora_name"),)))
    made = overridden(graph, {"lora": "b.safetensors"}, source, lambda: DRAWN)
    assert made.workflow["2"]["inputs"] == {"lora_name": "b.safetensors"}
    with pytest.raises(errors.InvalidParameters, match="its node stays"):
        overridden(graph, {"lora": "None"}, source, lambda: DRAWN)


def test_thousands_of_mistakes_in_a_large_graph_take_no_time() -> None:
    inputs = {f"value_{number}": number for number in range(10)}
    graph = {str(node_id): {"class_type": "A", "inputs": inputs} for node_id in range(1000)}
    given = {f"x{number}.value": 1 for number in range(3000)} | {"." * 200_000: 1}
    began = time.process_time()
    with pytest.raises(errors.InvalidParameters) as caught:
        overridden(graph, given, None, lambda: DRAWN)
    assert len(caught.value.details["errors"]) == 100
    with pytest.raises(errors.InvalidParameters):
        overridden(graph, {"." * 200_000: 1}, None, lambda: DRAWN)
    assert time.process_time() - began < 2
