"""What a file of the folder may hold in place of a graph, and what reads that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gateway import errors, graph
from gateway.workflows.convert import Converted, convert

#: Returns the node classes as ComfyUI last told them; none before it ever did.
Definitions = Callable[[], Mapping[str, Any]]
#: Returns the workflow in a picture, a sound or a video, which is told of under the name that
#: comes with it; raises RequestRefused where there is none.
Embedded = Callable[[bytes, str], dict[str, Any]]


def _none(_: bytes, name: str) -> dict[str, Any]:
    raise errors.InvalidInput(f"{name} is not JSON.")


@dataclass(frozen=True)
class Conversion:
    """Reads what is no graph; handed in, since ComfyUI and its files are others' business."""

    definitions: Definitions = dict
    embedded: Embedded = _none
    #: Levels that a workflow may nest.
    deepest: int = 64
    #: Graphs of files that were converted elsewhere, by their paths in the folder.
    made: Mapping[str, Converted] = field(default_factory=dict)


def converted(workflow: Mapping[str, Any], definitions: Mapping[str, Any]) -> Converted:
    """Return the graph of a workflow of the canvas, which may take a while.

    Raises NotReady before it is known what ComfyUI's nodes are, NotConvertible, InvalidRequest.
    """
    if not definitions:
        raise errors.NotReady(
            "A workflow in the format of the canvas is converted once ComfyUI has told what its "
            "nodes take.",
            retry_after=5.0,
        )
    # Always the same of {one|other}: the version in service stays what it is after a restart.
    made = convert(workflow, definitions, chance=Random(0))  # noqa: S311 - a choice of words
    graph.check_shape(made.graph)
    return made
