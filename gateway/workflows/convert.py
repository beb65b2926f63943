"""Workflows as the canvas saves them, brought into the API format; pure.

The measure is the official frontend: the graph that it would send for the same file. What follows
from what is told in the modules of `canvas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from gateway import errors, graph
from gateway.workflows.canvas import document, frames, primitives
from gateway.workflows.canvas.budget import Budget, Spent
from gateway.workflows.canvas.document import Document
from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.judging import Judge
from gateway.workflows.canvas.levels import levels
from gateway.workflows.canvas.problems import UNTANGLE, Problems
from gateway.workflows.canvas.promotion import Promotions
from gateway.workflows.canvas.sending import Sending
from gateway.workflows.canvas.text import Texts

#: The first of the warnings, wherever a caller is told of a conversion.
CONVERTED = "The workflow was converted from the format of the canvas."


class Converted(NamedTuple):
    """A graph in API format, and what is worth knowing about how it came about."""

    graph: graph.Graph
    warnings: list[str]


def convert(
    ui: Mapping[str, Any],
    object_info: Mapping[str, Any],
    *,
    now: datetime | None = None,
    chance: Random | None = None,
) -> Converted:
    """Return what the official frontend would send to `/prompt` for a workflow.

    `object_info` is the mapping of `/object_info`: class -> definition. Texts that name a date have
    that of `now`, and `chance` draws one of each {one|other}; else this moment, and any. Raises
    NotConvertible with each node of which something cannot be known, InvalidRequest for what is no
    workflow at all.
    """
    problems = Problems()
    read = document.read(ui)
    try:
        frames.check(read)
        sheets = levels(read, object_info)
        # A choice of words is no secret, so any chance will do.
        chance = chance or Random()  # noqa: S311
        made = _made(read, sheets, now or datetime.now(), chance, problems)
    except frames.Endless as endless:
        message = "its subgraph contains itself"
        problems.refuse(endless.node, endless.node.id, message, UNTANGLE)
        made = {}
    except frames.TooLarge as large:
        raise _too_large(str(large)) from None
    except Spent:
        raise _too_large(
            "links, values or texts that take longer than those of any other"
        ) from None
    problems.check()
    return Converted(made, problems.warnings)


def _made(
    read: Document, sheets: Mapping[str, Level], now: datetime, chance: Random, problems: Problems
) -> graph.Graph:
    budget = Budget()
    promotions = Promotions(sheets, budget)
    promotions.promote()
    found = [(frame, node) for frame, node in frames.flattened(sheets) if node.runs]
    nodes = [node for level in sheets.values() for node in level.nodes.values()]
    texts = Texts(nodes, now, chance, budget)
    for level in sheets.values():
        primitives.apply(level, texts)
    promotions.hand_down()
    sent: set[str] = set()
    for frame, node in found:
        name = frame.name(node)
        if name in sent:
            problems.refuse(node, name, "another node has this id too, in a subgraph or beside it")
        sent.add(name)
    judge = Judge(is_noted="ue_links" in read.extra)
    sending = Sending(sent, texts, judge, problems, budget)
    made = {frame.name(node): sending.node(frame, node) for frame, node in found}
    for name, node in sending.without_setter.items():
        problems.warn(node, name, "no SetNode of the file has the name that it asks for")
    return made


def _too_large(what: str) -> errors.NotConvertible:
    return errors.NotConvertible(
        f"With its subgraphs and group nodes taken apart, the workflow has {what}.",
        hint="Send a smaller workflow, or one whose subgraphs contain others less often.",
        location="prompt",
    )
