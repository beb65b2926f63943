"""The named workflows in the OpenAPI document: each is an operation of its own; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import orjson

from gateway.workflows import json_schema
from gateway.workflows.workflow import MEDIA, Workflow

_ADDRESS = "/workflow/{name}"
_REQUEST = {"$ref": "#/components/schemas/WorkflowRequest"}
_DEFS = "#/$defs/"
_MARK = "named_workflow"
#: What would make a schema's references mean something else than they do here.
_OF_A_DOCUMENT = ("$defs", "$schema", "$id")


def with_workflows(document: bytes, workflows: Iterable[Workflow]) -> bytes:
    """Return the document with an operation for each address of each workflow."""
    whole = orjson.loads(document)
    components = whole["components"]
    shared = _shared(whole["paths"][_ADDRESS]["post"], components)
    names: set[str] = set()
    for workflow in workflows:
        key = _key(workflow.name, names)
        schema = _hoisted(json_schema.schema(workflow), key, components["schemas"])
        for address, operation_id in _addresses(workflow, key):
            whole["paths"].setdefault(address, {})["post"] = {
                **shared,
                "operationId": operation_id,
                "summary": _summary(workflow),
                "description": workflow.description or shared["description"],
                "requestBody": _body(workflow, schema),
            }
    return orjson.dumps(whole)


def _shared(general: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """Return what all have in common; its longer parts stand in the document once."""
    answers = {f"{_MARK}_{status}": found for status, found in general["responses"].items()}
    components.setdefault("responses", {}).update(answers)
    asked = [one for one in general["parameters"] if one["in"] != "path"]
    named = {f"{_MARK}_{one['name']}": one for one in asked}
    components.setdefault("parameters", {}).update(named)
    return {
        **general,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in named],
        "responses": {
            status: {"$ref": f"#/components/responses/{_MARK}_{status}"}
            for status in general["responses"]
        },
    }


def _key(name: str, taken: set[str]) -> str:
    """Return a name that is left when only letters and digits are, and that no other has."""
    plain = "workflow_" + "_".join(re.findall(r"[A-Za-z0-9]+", name))
    found, number = plain, 2
    while found in taken:
        found, number = f"{plain}_{number}", number + 1
    taken.add(found)
    return found


def _addresses(workflow: Workflow, key: str) -> Iterator[tuple[str, str]]:
    yield f"/workflow/{_quoted(workflow.name)}", key
    if workflow.route is not None:
        yield _quoted(workflow.route), f"{key}_route"


def _quoted(path: str) -> str:
    return quote(path, safe="/", errors="replace")


def _summary(workflow: Workflow) -> str:
    text = (workflow.description or "").strip().splitlines()
    return text[0].rstrip(".")[:120] if text else f"Run {workflow.name}"


def _body(workflow: Workflow, schema: dict[str, Any]) -> dict[str, Any]:
    needed = ["input"] if schema.get("required") else []
    own: dict[str, Any] = {"type": "object", "properties": {"input": schema}}
    content = {
        "schema": {"allOf": [_REQUEST, {**own, "required": needed} if needed else own]},
        "example": {"input": json_schema.example(workflow)},
    }
    form = {"schema": _form(schema)}
    return {
        "required": True,
        "content": {"application/json": content, "multipart/form-data": form},
    }


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a form holds: the parameters beside the request's fields."""
    parts = {
        name: {"type": "string", "format": "binary", "description": said.get("description", "")}
        if said.get("x-type") in MEDIA
        else said
        for name, said in schema.get("properties", {}).items()
    }
    required = schema.get("required")
    found: dict[str, Any] = {"type": "object", "properties": parts}
    return {**found, "required": required} if required else found


def _hoisted(schema: dict[str, Any], key: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose definitions stand among the document's, and are found there."""
    names = {name: f"{key}.{number}" for number, name in enumerate(schema.get("$defs", {}))}
    for name, found in schema.get("$defs", {}).items():
        schemas[names[name]] = _referring(found, names)
    own = {name: said for name, said in schema.items() if name not in _OF_A_DOCUMENT}
    referring: dict[str, Any] = _referring(own, names)
    return referring


def _referring(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_referring(one, names) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _referring(said, names) for name, said in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.removeprefix(_DEFS) in names:
        found["$ref"] = f"#/components/schemas/{names[reference.removeprefix(_DEFS)]}"
    mapping = schema.get("mapping")
    if isinstance(mapping, dict):
        # Of a discriminator.
        found["mapping"] = {
            value: f"#/components/schemas/{names[where.removeprefix(_DEFS)]}"
            if isinstance(where, str) and where.removeprefix(_DEFS) in names
            else where
            for value, where in mapping.items()
        }
    return found
