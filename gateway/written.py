"""Workflows as files of JSON have them: encodings, what is around them, how deep; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway import graph, loose_json

#: What describes a workflow in its own file; ComfyUI knows nothing of it.
METADATA = "_workflow_metadata"
#: Bytes of a file's beginning that `is_json` wants to see.
HEAD_BYTES = 4096

#: Where programs that save a workflow in JSON put it, beside the bare one.
_WRAPPINGS = ("prompt", "workflow")
_BEFORE = " \t\r\n\ufeff"


class NotJson(ValueError):
    """Bytes cannot be read as JSON; lines and columns count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        self.message, self.line, self.column = message, line, column
        super().__init__(f"{message}: line {line} column {column}")


class Written(NamedTuple):
    """A workflow in whichever format, and what a file has around it."""

    workflow: dict[str, Any]
    #: The fields of the request that it is the `prompt` of.
    fields: dict[str, Any]
    #: `_workflow_metadata`, of whatever type.
    metadata: Any
    #: What it stands under; None where it is the whole file.
    key: str | None


def is_json(head: bytes) -> bool:
    """Whether what begins so is meant to be an object or a list in JSON."""
    text = head[:HEAD_BYTES].decode(json.detect_encoding(head), "replace")
    return text.lstrip(_BEFORE)[:1] in ("{", "[")


def text_of(raw: bytes) -> str:
    """Return the characters of JSON, be it UTF-8 or UTF-16, marked or not; raises NotJson."""
    try:
        return raw.decode(json.detect_encoding(raw), "surrogatepass")
    except UnicodeDecodeError as failure:
        before = raw[: failure.start]
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        line = before.count(b"\n") + 1
        raise NotJson("these bytes are no characters; save it as UTF-8", line, column) from None


def parse(raw: bytes) -> Any:
    """Return what the JSON of a file holds, NaN as None; raises NotJson."""
    try:
        return loose_json.parse(raw)
    except RecursionError:
        raise NotJson("it nests too deep") from None
    except json.JSONDecodeError as failure:
        raise NotJson(failure.msg[:200], failure.lineno, failure.colno) from None
    except ValueError:
        text_of(raw)
        raise NotJson("it holds a number that is too long") from None


def is_workflow(value: Any) -> bool:
    """Whether a value is a workflow of the canvas, or has at least one node of a graph."""
    return graph.is_ui_format(value) or (
        isinstance(value, dict)
        and any(isinstance(node, dict) and "class_type" in node for node in value.values())
    )


def unwrapped(found: dict[str, Any]) -> Written:
    """Return the workflow of what a file holds: all of it, its `prompt`, or its `workflow`.

    As a request to /prompt holds it, or as a program wrote down what a picture held.
    """
    key = _key(found)
    outer = {name: value for name, value in found.items() if name != METADATA}
    if key is None:
        return Written(outer, {}, found.get(METADATA, {}), None)
    inner = found[key]
    metadata = inner.get(METADATA, found.get(METADATA, {}))
    workflow = {name: value for name, value in inner.items() if name != METADATA}
    around = outer if key == "prompt" else {}
    fields = {name: value for name, value in around.items() if name not in _WRAPPINGS}
    return Written(workflow, fields, metadata, key)


def _key(found: dict[str, Any]) -> str | None:
    if is_workflow(found):
        return None
    inside = [key for key in _WRAPPINGS if isinstance(found.get(key), dict)]
    return next((key for key in inside if is_workflow(found[key])), next(iter(inside), None))


def of_a_run(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow that a picture holds, less the marks of its job.

    Raises what `graph.check_shape` raises of a graph.
    """
    if graph.is_ui_format(workflow):
        return workflow
    return graph.unmarked(graph.check_shape(workflow))


def is_deeper(value: Any, most: int) -> bool:
    """Whether a value nests deeper than so many levels."""
    level = [value]
    for _ in range(most):
        level = [child for one in level for child in _children(one)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterator[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (child for child in found if isinstance(child, dict | list))
