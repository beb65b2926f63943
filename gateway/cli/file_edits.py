"""The values and the pictures that the command line puts into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pybase64

from gateway import graph
from gateway.cli.failure import CommandFailed


def with_values(workflow: graph.Graph, assignments: list[str]) -> tuple[graph.Graph, list[str]]:
    """Return the graph with every NODE.INPUT=VALUE in it, and what looks like a slip."""
    edits, notes = edits_of(workflow, assignments)
    return graph.with_inputs(workflow, edits), notes


def edits_of(
    workflow: graph.Graph, assignments: Sequence[str]
) -> tuple[dict[tuple[str, str], Any], list[str]]:
    """Return what every NODE.INPUT=VALUE writes, and what looks like a slip."""
    edits: dict[tuple[str, str], Any] = {}
    notes = []
    for assignment in assignments:
        node_id, name, text = _parsed(workflow, assignment)
        inputs = workflow[node_id].get("inputs", {})
        if name not in inputs:
            have = ", ".join(inputs) or "none"
            notes.append(f"{_called(workflow, node_id)} has no input {name!r} yet; it has: {have}.")
        edits[node_id, name] = value(text, inputs.get(name))
    return edits, notes


def _parsed(workflow: graph.Graph, assignment: str) -> tuple[str, str, str]:
    place, equals, text = assignment.partition("=")
    node_id, dot, name = place.rpartition(".")
    if not (equals and dot and node_id and name):
        raise CommandFailed(
            f"--set {assignment!r} is not NODE.INPUT=VALUE.", hint="For example: --set 3.seed=42"
        )
    if node_id not in workflow:
        listed = ", ".join(f"{key} ({node['class_type']})" for key, node in workflow.items())
        raise CommandFailed(f"There is no node {node_id!r}.", hint=f"The nodes: {listed}.")
    return node_id, name, text


def value(text: str, current: Any) -> Any:
    """Return what the text stands for: JSON, or the text itself, as the input has it now."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    # A prompt that reads 42 is a text; "42" in quotes would be one anywhere.
    return text if isinstance(current, str) and not isinstance(found, str) else found


def with_images(workflow: graph.Graph, images: list[str]) -> graph.Graph:
    """Return the graph with every FILE, URL or NODE=FILE in its media input."""
    places = image_places(workflow, images, "--image")
    return graph.with_inputs(
        workflow, {place: _content(source) for place, source in places.items()}
    )


def image_places(
    workflow: graph.Graph, images: Sequence[str], option: str
) -> dict[tuple[str, str], str]:
    """Return which input each FILE, URL or NODE=FILE is for; raises CommandFailed."""
    inputs: dict[str, str] = {}
    for ref in graph.media_refs(workflow):
        inputs.setdefault(ref.node_id, ref.name)
    places: dict[tuple[str, str], str] = {}
    for image in images:
        node_id, source = _target(workflow, inputs, image, option)
        if (node_id, inputs[node_id]) in places:
            raise CommandFailed(f"{_called(workflow, node_id)} was given two images.")
        places[node_id, inputs[node_id]] = source
    return places


def _target(
    workflow: graph.Graph, inputs: dict[str, str], image: str, option: str
) -> tuple[str, str]:
    node_id, equals, source = image.partition("=")
    if equals and node_id in inputs:
        return node_id, source
    if equals and node_id in workflow:
        raise CommandFailed(f"{_called(workflow, node_id)} takes no image.")
    if not inputs:
        raise CommandFailed(
            "No node of the workflow takes an image.", hint="Add one, as LoadImage, and export it."
        )
    if len(inputs) > 1:
        called = ", ".join(_called(workflow, node_id) for node_id in inputs)
        raise CommandFailed(
            f"Several nodes take an image: {called}.",
            hint=f"Say which: {option} {next(iter(inputs))}={image}",
        )
    return next(iter(inputs)), image


def _content(source: str) -> str:
    if graph.is_url(source):
        return source
    try:
        return pybase64.b64encode_as_string(Path(source).read_bytes())
    except OSError as failure:
        raise CommandFailed(f"--image {source}: {failure.strerror}.") from None


def _called(workflow: graph.Graph, node_id: str) -> str:
    return f"node {node_id} ({workflow[node_id]['class_type']})"
