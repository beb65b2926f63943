"""What `gateway generate` sends, and what it has to say about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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


@dataclass(frozen=True)
class Ending:
    """What is done with a request: shown only, or run, and where what it makes is saved."""

    output: str = "."
    preview: Path | None = None
    dry_run: bool = False
    as_json: bool = False
