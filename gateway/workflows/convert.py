"""Workflows as the canvas saves them, brought into the API format; pure.

The measure is the official frontend: the graph that it would send for the same file. What follows
from what is told in the modules of `canvas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from gateway import errors, graph
from gateway.workflows.canvas import document, frames, primitives, sending, text
from gateway.workflows.canvas.frames import Frame, Level
from gateway.workflows.canvas.levels import levels
from gateway.workflows.canvas.nodes import Node
from gateway.workflows.canvas.problems import UNTANGLE, Problems
from gateway.workflows.canvas.promotion import Promotions
from gateway.workflows.canvas.sending import Sending


class Converted(NamedTuple):
    """A graph in API format, and what is worth knowing about how it came about."""

    graph: graph.Graph
    warnings: list[str]


def convert(ui: Mapping[str, Any], object_info: Mapping[str, Any]) -> Converted:
    """Return what the official frontend would send to `/prompt` for a workflow.

    `object_info` is the mapping of `/object_info`: class -> definition. Raises NotConvertible with
    each node of which something cannot be known, InvalidRequest for what is no workflow at all.
    """
    problems = Problems()
    read = document.read(ui)
    if frames.is_too_large(read):
        raise _too_large()
    sheets = levels(read, object_info)
    promotions = Promotions(sheets)
    promotions.promote()
    found = _flattened(sheets, problems)
    nodes = [node for level in sheets.values() for node in level.nodes.values()]
    placeholders = text.Placeholders(nodes, datetime.now())
    for level in sheets.values():
        primitives.apply(level, placeholders)
    promotions.hand_down()
    sender = Sending(placeholders, problems, is_noted="ue_links" in read.extra)
    made = {frame.name(node): sender.node(frame, node) for frame, node in found if node.runs}
    for name, node in sender.setters.missing.items():
        problems.warn(node, name, "no SetNode of the file has the name that it asks for")
    problems.check()
    return Converted(sending.linked(made), problems.warnings)


def _flattened(sheets: Mapping[str, Level], problems: Problems) -> list[tuple[Frame, Node]]:
    try:
        return frames.flattened(sheets)
    except frames.Endless as endless:
        problems.refuse(endless.node, endless.node.id, "its subgraph contains itself", UNTANGLE)
    except frames.TooLarge:
        raise _too_large() from None
    problems.check()
    return []


def _too_large() -> errors.NotConvertible:
    return errors.NotConvertible(
        f"With its subgraphs, the workflow has more than {frames.MOST_NODES} nodes, or more than "
        f"{frames.MOST_SLOTS} inputs, or lies deeper in itself than {frames.DEEPEST} levels.",
        hint="Send a smaller workflow, or subgraphs that contain others less often.",
        location="prompt",
    )
