"""A workflow in the words of JSON Schema, and the example of a request."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from gateway.workflows import json_schema, values
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow

P = Parameter
GRAPH = {"1": {"class_type": "A", "inputs": {"text": "a lamp", "steps": 20, "image": "a.png"}}}


def workflow(*parameters: Parameter, **more: Any) -> Workflow:
    return Workflow("w", {one.name: one for one in parameters}, GRAPH, **more)


def property_of(parameter: Parameter) -> dict[str, Any]:
    schema = json_schema.schema(workflow(parameter))
    jsonschema.Draft202012Validator.check_schema(schema)
    found: dict[str, Any] = schema["properties"][parameter.name]
    return found


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (
            P("a", "string", max=20, description="What is to be seen."),
            {"type": "string", "maxLength": 20, "description": "What is to be seen."},
        ),
        (
            P("a", "integer", default=8, min=1, max=100.0, multiple_of=4),
            {"type": "integer", "minimum": 1, "maximum": 100, "multipleOf": 4, "default": 8},
        ),
        (P("a", "float", min=0.5), {"type": "number", "minimum": 0.5}),
        (P("a", "boolean", default=False), {"type": "boolean", "default": False}),
        (P("a", "enum", choices=("x", 2)), {"enum": ["x", 2]}),
        (P("a", "integer", choices=(1, 2)), {"type": "integer", "enum": [1, 2]}),
        (
            P("a", "image"),
            {
                "type": "string",
                "minLength": 1,
                "contentEncoding": "base64",
                "contentMediaType": "image/*",
                "x-type": "image",
            },
        ),
        (
            P("a", "lora", default="None", choices=("x", "None")),
            {
                "type": ["string", "null"],
                "maxLength": 4096,
                "enum": ["x", "None", None],
                "x-type": "lora",
                "default": "None",
            },
        ),
        (
            P("a", "model", folder="vae"),
            {
                "type": "string",
                "minLength": 1,
                "maxLength": 4096,
                "x-type": "model",
                "x-folder": "vae",
            },
        ),
    ],
)
def test_a_parameter_is_described(parameter: Parameter, said: dict[str, Any]) -> None:
    assert property_of(parameter) == said


def test_a_seed_is_a_number_or_drawn() -> None:
    validator = jsonschema.Draft202012Validator(property_of(P("a", "seed", default="random")))

    assert all(validator.is_valid(seed) for seed in (0, 2**64 - 1, "random", -1))
    assert not any(validator.is_valid(seed) for seed in (-2, 2**64, "other", 1.5))


def test_what_stands_in_the_file_is_the_default() -> None:
    assert property_of(P("a", "integer", places=(Place("1", "steps"),)))["default"] == 20


@pytest.mark.parametrize("more", [{"required": True}, {"max": 10}])
def test_what_the_file_has_is_no_default_where_it_cannot_be_one(more: dict[str, Any]) -> None:
    assert "default" not in property_of(P("a", "integer", places=(Place("1", "steps"),), **more))


def test_what_is_required_is_listed_and_nothing_else_taken() -> None:
    schema = json_schema.schema(workflow(P("a", "string", required=True), P("b", "string")))

    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False


def test_the_schema_of_python_is_its_own() -> None:
    own = {"type": "object", "properties": {"a": {"type": "integer"}}}

    assert json_schema.schema(Workflow("w", {}, request_schema=own)) == own


def test_the_example_of_the_manifest_is_the_example() -> None:
    named = workflow(P("a", "string", required=True), example={"a": "a lamp"})

    assert json_schema.example(named) == {"a": "a lamp"}


def test_an_example_is_made_of_what_is_known() -> None:
    parameters = [
        P("prompt", "string", required=True, places=(Place("1", "text"),)),
        P("word", "string", required=True),
        P("image", "image", required=True),
        P("style", "enum", required=True, choices=("x", "y")),
        P("steps", "integer", default=8),
        P("count", "integer", required=True, min=3),
        P("on", "boolean", required=True),
        P("seed", "seed", required=True),
        P("other", "string"),
    ]
    made = json_schema.example(workflow(*parameters))

    assert made == {
        "prompt": "a lamp",
        "word": "word",
        "image": "https://example.com/picture.png",
        "style": "x",
        "steps": 8,
        "count": 3,
        "on": True,
        "seed": "random",
    }
    assert values.check({one.name: one for one in parameters}, made)
    assert jsonschema.Draft202012Validator(json_schema.schema(workflow(*parameters))).is_valid(made)


def test_an_example_of_python_is_made_of_its_schema() -> None:
    own = {
        "properties": {
            "prompt": {"type": "string"},
            "steps": {"type": "integer", "minimum": 2},
            "kind": {"enum": ["x", "y"]},
            "size": {"default": 512},
            "word": {"examples": ["tree"]},
            "other": {"type": "string"},
        },
        "required": ["prompt", "steps", "kind"],
    }

    assert json_schema.example(Workflow("w", {}, request_schema=own)) == {
        "prompt": "prompt",
        "steps": 2,
        "kind": "x",
        "size": 512,
        "word": "tree",
    }


def test_no_secret_of_an_operator_is_told() -> None:
    url, told = "https://me:hush@host/a.png?x=1&token=abc", "https://host/a.png?x=1&token=***"
    made = workflow(
        P("a", "image", default=url, places=(Place("1", "image"),)),
        P("b", "lora", default=url),
        P("c", "model", choices=(url,), folder="loras", required=True),
        P("d", "string", default="what? me@home"),
    )
    found = json_schema.schema(made)["properties"]
    assert [found[name].get("default") for name in "abd"] == [told, told, "what? me@home"]
    assert found["c"]["enum"] == [told]
    assert json_schema.example(made) == {"a": told, "b": told, "c": told, "d": "what? me@home"}
    assert json_schema.example(workflow(example={"a": [url]})) == {"a": [told]}
    script = workflow(request_schema={"properties": {"a": {"default": url}}})
    assert json_schema.schema(script)["properties"]["a"]["default"] == told
