"""What a file of the folder may hold in place of a graph, and what reads that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import errors, graph
from gateway.workflows.convert import Converted, convert


class Found(Protocol):
    """What ComfyUI put into a file that it saved."""

    @property
    def best(self) -> dict[str, Any]:
        """The graph that ran, or else the canvas."""


#: Returns the node classes as ComfyUI last told them; none before it ever did.
Definitions = Callable[[], Mapping[str, Any]]
#: Returns what is in a picture, a sound or a video; None where there is nothing.
Embedded = Callable[[bytes], Found | None]


@dataclass(frozen=True)
class Conversion:
    """Reads what is no graph; handed in, since ComfyUI and its files are others' business."""

    definitions: Definitions = dict
    embedded: Embedded = lambda _: None


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
    made = convert(workflow, definitions)
    graph.check_shape(made.graph)
    return made
