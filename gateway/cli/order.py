"""What `gateway generate` sends, and what it has to say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway import graph

_SHOWN = 80


@dataclass(frozen=True)
class Order:
    """A request for a job, ready to be sent."""

    #: `/prompt`, or the address of a named workflow.
    path: str
    body: dict[str, Any]
    #: What the command says the workflow is: its name or its file.
    workflow: str
    #: Values that were given, by name.
    input: dict[str, Any] = field(default_factory=dict)
    #: What was changed of the file, a sentence each.
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def changes(workflow: graph.Graph, edits: Mapping[tuple[str, str], Any]) -> list[str]:
    """Return a sentence for each input that these edits change."""
    found = []
    for (node_id, name), value in edits.items():
        before = workflow[node_id].get("inputs", {}).get(name)
        if before != value:
            found.append(f"{node_id}.inputs.{name}: {shown(before)} -> {shown(value)}")
    return found


def shown(value: Any) -> str:
    """Return a value as one line that is not too long."""
    import orjson

    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"
