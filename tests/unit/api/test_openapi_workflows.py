"""Each named workflow is an operation of a document that stays valid, whatever it is called."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api import openapi, openapi_workflows
from gateway.api.routes import TABLE
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow

_ODD = [
    *("Füße", "a b", "a%b", "a{b}", "a?b#c", "a+b", "日本語", "😀", "a.b", "..a", "a:b", "A", "a"),
    *("people/portrait", "people/a b", "a/b/c/d/e", "{name}", "name", "prompt", "workflows"),
    *("a'b", 'a"b', "a\\b", "a&b", "<b>", "$ref", "#", "~1", "%2F", "-", "_", "1", "None", "null"),
    *(f"copy ({number})" for number in range(16)),
]


def parameters() -> dict[str, Parameter]:
    place = (Place("1", "image"),)
    found = [
        Parameter("photo", "image", required=True, places=place, description="Who it is."),
        Parameter("seed", "seed", default="random", places=place),
        Parameter("lora", "lora", default="None", places=place),
        Parameter("side", "integer", default=8, min=1, max=64, multiple_of=8, places=place),
        Parameter("kind", "enum", default="plain", choices=("plain", 2, True), places=place),
        Parameter("$ref", "string", default="#/$defs/Size", places=place),
    ]
    return {one.name: one for one in found}


def graph() -> dict[str, Any]:
    return {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}


def document(*workflows: Workflow) -> dict[str, Any]:
    plain = openapi.document(TABLE, "1.0")
    found: dict[str, Any] = orjson.loads(openapi_workflows.with_workflows(plain, workflows))
    return found


@pytest.fixture(scope="module")
def odd() -> dict[str, Any]:
    return document(
        *(
            Workflow(name, parameters(), graph(), route=f"/odd/{number}")
            for number, name in enumerate(_ODD)
        )
    )


def test_it_is_valid(odd: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(odd).validate()


def test_each_has_an_operation_and_its_route_too(odd: dict[str, Any]) -> None:
    own = {path for path in odd["paths"] if path.startswith("/workflow/")} - {"/workflow/{name}"}
    assert len(own) == len(_ODD) == 50
    assert "/workflow/F%C3%BC%C3%9Fe" in own
    assert "/workflow/a%7Bb%7D" in own
    assert len([path for path in odd["paths"] if path.startswith("/odd/")]) == len(_ODD)
    operations = [found for methods in odd["paths"].values() for found in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))


def test_its_schema_as_json_and_as_a_form() -> None:
    found = document(Workflow("photo", parameters(), graph(), description="One.\n\nMore of it."))
    operation = found["paths"]["/workflow/photo"]["post"]
    assert (operation["summary"], operation["description"]) == ("One", "One.\n\nMore of it.")
    content = operation["requestBody"]["content"]
    told = content["application/json"]["schema"]["allOf"][1]
    assert told["required"] == ["input"]
    assert told["properties"]["input"]["properties"]["side"]["maximum"] == 64
    assert "photo" in content["application/json"]["example"]["input"]
    form = content["multipart/form-data"]["schema"]
    assert form["properties"]["photo"]["format"] == "binary"
    assert form["required"] == ["photo"]


def test_definitions_of_a_schema_stand_among_the_document_s() -> None:
    size = {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Size"}}}
    schema = {
        "$defs": {"Size": size, "a b": {"type": "string"}},
        "type": "object",
        "properties": {
            "size": {"$ref": "#/$defs/Size"},
            "text": {"anyOf": [{"$ref": "#/$defs/a b"}, {"type": "null"}]},
        },
        "required": ["size"],
    }
    workflows = [Workflow(name, {}, request_schema=schema) for name in ("one", "two")]
    found = document(*workflows)
    OpenAPIV31SpecValidator(found).validate()
    for name in ("one", "two"):
        operation = found["paths"][f"/workflow/{name}"]["post"]
        told = operation["requestBody"]["content"]["application/json"]["schema"]["allOf"][1]
        reference = told["properties"]["input"]["properties"]["size"]["$ref"]
        there = found["components"]["schemas"][reference.rpartition("/")[2]]
        assert there["properties"]["inner"]["$ref"] == reference
    assert "$defs" not in orjson.dumps(found["components"]).decode()
