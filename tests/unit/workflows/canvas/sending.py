"""What is sent for a file of the canvas, in a form that tests can write down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway import errors
from gateway.workflows.convert import Converted, convert
from tests.unit.workflows.canvas.classes import CLASSES

#: Node -> its class and its inputs.
Sent = dict[str, tuple[str, dict[str, Any]]]
#: What a case is called -> a file, and what is sent for it.
Cases = dict[str, tuple[Any, Sent]]


def told(cases: Mapping[str, tuple[Any, ...]]) -> pytest.MarkDecorator:
    """Return the decorator that runs a test with each case, under its name."""
    return pytest.mark.parametrize(
        ("saved", "expected"), list(cases.values()), ids=[name.replace(" ", "-") for name in cases]
    )


def sent(saved: Any, object_info: Mapping[str, Any] = CLASSES) -> Sent:
    """Return what is sent for a file."""
    return plain(convert(saved, object_info).graph)


def plain(graph: Mapping[str, Any]) -> Sent:
    """Return a graph without its titles."""
    return {name: (node["class_type"], node["inputs"]) for name, node in graph.items()}


def refused(saved: Any, object_info: Mapping[str, Any] = CLASSES) -> list[dict[str, Any]]:
    """Return the nodes that a refusal names."""
    with pytest.raises(errors.NotConvertible) as caught:
        convert(saved, object_info)
    nodes: list[dict[str, Any]] = caught.value.details["nodes"]
    return nodes


def answered(saved: Any, object_info: Any = CLASSES) -> Converted | errors.GatewayError:
    """Return what a caller would be answered, which can be written as JSON; nothing else is."""
    try:
        found = convert(saved, object_info)
    except errors.GatewayError as refusal:
        orjson.dumps([refusal.message, refusal.hint, refusal.details])
        return refusal
    json.dumps([found.graph, found.warnings])
    return found


def exact(value: Any) -> Any:
    """Return a value in which a flag is no number, for `==` takes one for the other."""
    if isinstance(value, bool):
        return f"flag {value}"
    if isinstance(value, dict):
        return {name: exact(one) for name, one in value.items()}
    return [exact(one) for one in value] if isinstance(value, list | tuple) else value
