"""A workflow's parameters in the words of JSON Schema, and an example of a request; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import graph
from gateway.storage import address
from gateway.workflows import values
from gateway.workflows.workflow import MEDIA, Parameter, Workflow

#: What a picture's bytes, or a sound's, are called on the wire.
_MEDIA_TYPES = {"image": "image/*", "mask": "image/*", "audio": "audio/*", "video": "video/*"}
_EXAMPLE_FILES = {"image": "picture.png", "mask": "mask.png", "audio": "a.mp3", "video": "a.mp4"}
_PLAIN = {"string": "string", "integer": "integer", "float": "number", "boolean": "boolean"}


def schema(workflow: Workflow) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a request's `input`."""
    found: dict[str, Any] = without_secrets(_schema(workflow))
    return found


def _schema(workflow: Workflow) -> dict[str, Any]:
    if workflow.request_schema is not None:
        return dict(workflow.request_schema)
    found: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: _property(workflow, parameter) for name, parameter in workflow.parameters.items()
        },
        "additionalProperties": False,
    }
    required = [name for name, parameter in workflow.parameters.items() if parameter.required]
    return {**found, "required": required} if required else found


def example(workflow: Workflow) -> dict[str, Any]:
    """Return a request's `input`: the manifest's example, else one made of what is known."""
    found: dict[str, Any] = without_secrets(_example(workflow))
    return found


def _example(workflow: Workflow) -> dict[str, Any]:
    if workflow.example:
        return dict(workflow.example)
    if workflow.request_schema is not None:
        return _of_schema(workflow.request_schema)
    return {
        name: _example_value(workflow, parameter)
        for name, parameter in workflow.parameters.items()
        if parameter.required or parameter.default is not None
    }


def without_secrets(value: Any) -> Any:
    """Return a value with no password and no token in any URL of it.

    An operator may have put them into a manifest or a graph, and not for whoever reads of these.
    """
    if isinstance(value, Mapping):
        return {name: without_secrets(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one) for one in value]
    may_hold_one = isinstance(value, str) and ("@" in value or "?" in value)
    return address.shown(value) if may_hold_one and graph.is_url(value) else value


def secrets_of(of: Mapping[str, Any]) -> set[str]:
    """Return the properties that a schema says are never to be told, as pydantic's SecretStr."""
    return {
        name
        for name, said in of.get("properties", {}).items()
        if any(one.get("writeOnly") for one in (said, *said.get("anyOf", ())))
    }


def _property(workflow: Workflow, parameter: Parameter) -> dict[str, Any]:
    found = _typed(parameter)
    default = _default(workflow, parameter)
    if parameter.description is not None:
        found["description"] = parameter.description
    if default is not None:
        found["default"] = default
    return found


def _typed(parameter: Parameter) -> dict[str, Any]:
    """Return what a value may be; `x-type` names a type for which JSON has no word."""
    kind = parameter.type
    if kind == "seed":
        return _seed(parameter)
    if kind == "lora":
        return _lora(parameter)
    if kind == "enum":
        return {"enum": list(parameter.choices)}
    if kind in MEDIA:
        media_type = _MEDIA_TYPES[kind]
        hints = {"contentEncoding": "base64", "contentMediaType": media_type, "x-type": kind}
        return {"type": "string", "minLength": 1, **hints}
    if kind == "model":
        named = {"type": "string", "minLength": 1, "maxLength": values.NAME_LENGTH}
        return {**named, **_choices(parameter), "x-type": kind, "x-folder": parameter.folder}
    return {"type": _PLAIN[kind], **_bounds(parameter), **_choices(parameter)}


def _seed(parameter: Parameter) -> dict[str, Any]:
    bounds = {"minimum": 0, "maximum": values.LARGEST_INTEGER, **_bounds(parameter)}
    integer = {"type": "integer", **bounds}
    return {"anyOf": [integer, {"enum": [values.RANDOM, -1]}], "x-type": "seed"}


def _lora(parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"type": ["string", "null"], "maxLength": values.NAME_LENGTH}
    if parameter.choices:
        others = [choice for choice in parameter.choices if choice != values.NO_LORA]
        found["enum"] = [*others, values.NO_LORA, None]
    else:
        found["minLength"] = 1
    return {**found, "x-type": "lora"}


def _bounds(parameter: Parameter) -> dict[str, Any]:
    if parameter.type == "string":
        found = {
            "minLength": parameter.min,
            "maxLength": values.TEXT_LENGTH if parameter.max is None else parameter.max,
        }
    else:
        found = {
            "minimum": parameter.min,
            "maximum": parameter.max,
            "multipleOf": parameter.multiple_of,
        }
    return {key: _number(bound) for key, bound in found.items() if bound is not None}


def _number(bound: float) -> float:
    return int(bound) if float(bound).is_integer() else bound


def _choices(parameter: Parameter) -> dict[str, Any]:
    return {"enum": list(parameter.choices)} if parameter.choices else {}


def _default(workflow: Workflow, parameter: Parameter) -> Any:
    """Return what holds when nothing is given: the default, else what stands in the file."""
    if parameter.default is not None or parameter.required:
        return parameter.default
    return _in_file(workflow, parameter)


def _in_file(workflow: Workflow, parameter: Parameter) -> Any:
    if not parameter.places or workflow.graph is None:
        return None
    place = parameter.places[0]
    value = workflow.graph[place.node_id].get("inputs", {}).get(place.name)
    try:
        return values.checked(parameter, value)
    except values.Wrong:
        return None


def _example_value(workflow: Workflow, parameter: Parameter) -> Any:
    if parameter.default is not None:
        return parameter.default
    if parameter.choices:
        return parameter.choices[0]
    if parameter.type in MEDIA:
        return f"https://example.com/{_EXAMPLE_FILES[parameter.type]}"
    found = _in_file(workflow, parameter)
    if found is not None:
        return found
    if parameter.type in ("integer", "float"):
        return _number(parameter.min or 0)
    return {"boolean": True, "seed": values.RANDOM, "lora": values.NO_LORA}.get(
        parameter.type, parameter.name
    )


def _of_schema(of: Mapping[str, Any]) -> dict[str, Any]:
    examples = of.get("examples")
    if isinstance(examples, list) and examples and isinstance(examples[0], Mapping):
        return dict(examples[0])
    required = of.get("required", ())
    found = {}
    for name, said in of.get("properties", {}).items():
        if said.get("examples"):
            found[name] = said["examples"][0]
        elif said.get("default") is not None:
            found[name] = said["default"]
        elif name in required:
            found[name] = _of_type(said, name)
    return found


def _of_type(said: Mapping[str, Any], name: str) -> Any:
    if said.get("enum"):
        return said["enum"][0]
    low = said.get("minimum", 1)
    found = {"integer": low, "number": low, "boolean": True, "array": [], "object": {}}
    return found.get(said.get("type", "string"), name)
