"""A proposed manifest as YAML, with comments for who goes on with it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from gateway import graph
from gateway.workflows.proposal import Proposed, proposed
from gateway.workflows.sampling.samplers import Place

_HEAD = """\
# Proposed from what stands in the workflow: delete what nobody is to change, rename the rest.
# Every field is explained in docs/howto/workflows.md; `gateway workflows check` finds mistakes.
"""
_COMMENT_LENGTH = 85


def manifest(workflow: graph.Graph, file: str | None = None) -> str:
    """Return a manifest for a graph; it has no mistakes in it.

    `file` is where the graph stands, unless that is the file of the same name.
    """
    found = proposed(workflow)
    lines = [_HEAD, "description: What it makes, in a sentence.\n"]
    if file is not None:
        lines.append(f"workflow_file: {_scalar(file)}\n")
    if not found:
        lines.append("# Nothing in it looks like a parameter; bind inputs as 6.inputs.text.\n")
        lines.append("parameters: {}\n")
        return "".join(lines)
    lines.append("parameters:\n")
    for one in found:
        lines.extend(f"{line}\n" for line in _parameter(workflow, one))
    return "".join(lines)


def _parameter(workflow: graph.Graph, one: Proposed) -> Iterator[str]:
    made = one.parameter
    yield f"  {made.name}:"
    if one.remark:
        yield f"    # {_plain(one.remark)}"
    yield f"    type: {made.type}"
    if made.folder is not None:
        yield f"    folder: {_scalar(made.folder)}"
    if made.description is not None:
        yield f"    description: {_scalar(made.description)}"
    if made.required:
        yield "    required: true"
    if made.default is not None:
        yield f"    default: {_scalar(made.default)}{_file_has(one)}"
    for name in ("min", "max", "multiple_of"):
        if (bound := getattr(made, name)) is not None:
            yield f"    {name}: {_scalar(bound)}"
    yield from _bind(workflow, made.places)


def _file_has(one: Proposed) -> str:
    """Return a comment about what the file has, where the default is something else."""
    if one.parameter.type != "seed":
        return ""
    return f"  # {one.value} in the file"


def _bind(workflow: graph.Graph, places: Sequence[Place]) -> Iterator[str]:
    told = [f"{_scalar(f'{place.node_id}.inputs.{place.name}')}" for place in places]
    titles = [f"  # {_title(workflow, place.node_id)}" for place in places]
    if len(places) == 1:
        yield f"    bind: {told[0]}{titles[0]}"
        return
    yield "    bind:"
    for target, title in zip(told, titles, strict=True):
        yield f"      - {target}{title}"


def _title(workflow: graph.Graph, node_id: str) -> str:
    node = workflow[node_id]
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    known = str(node["class_type"])
    return _plain(f"{known}: {title}" if isinstance(title, str) and title != known else known)


def _plain(text: str) -> str:
    """Return a text that a comment of one line may hold."""
    told = "".join(one if one.isprintable() else " " for one in text)
    return told if len(told) <= _COMMENT_LENGTH else f"{told[:_COMMENT_LENGTH]}..."


def _scalar(value: Any) -> str:
    """Return a value as YAML, on one line."""
    style = '"' if isinstance(value, str) and ("\n" in value or ".inputs." in value) else None
    text: str = yaml.safe_dump(value, allow_unicode=True, width=10**9, default_style=style)
    if isinstance(value, str):
        return text.removesuffix("\n").removesuffix("\n...")
    plain: str = yaml.safe_dump(value).removesuffix("\n").removesuffix("\n...")
    return plain
