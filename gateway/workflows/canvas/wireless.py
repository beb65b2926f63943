"""Links without a wire: what a GetNode gives is what the SetNode of its name was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.workflows.canvas.frames import Frame, Level
from gateway.workflows.canvas.nodes import GETTERS, SETTERS, Node


class Setters:
    """Finds the SetNode that a GetNode means: on its own sheet first, then on those around."""

    def __init__(self) -> None:
        self._by_level: dict[str, dict[str, Node]] = {}
        #: Ids of the nodes whose SetNode is not in the file.
        self.missing: dict[str, Node] = {}

    def meant(self, frame: Frame, node: Node) -> tuple[Frame, Node] | None:
        """Return the SetNode that a node stands for, and where; None for every other node."""
        if node.type not in GETTERS:
            return None
        name = _name(node)
        within: Frame | None = frame
        while within is not None:
            if name is not None and (found := self._of(within.level).get(name)) is not None:
                return within, found
            within = within.around
        self.missing[frame.name(node)] = node
        return None

    def _of(self, level: Level) -> dict[str, Node]:
        if level.id not in self._by_level:
            found: dict[str, Node] = {}
            for node in level.nodes.values():
                if node.type in SETTERS and (name := _name(node)) is not None:
                    found.setdefault(name, node)
            self._by_level[level.id] = found
        return self._by_level[level.id]


def _name(node: Node) -> str | None:
    values: Any = node.saved.values if node.saved else None
    if isinstance(values, Mapping):
        values = [*values.values()][:1]
    found = values[0] if values else None
    return str(found) if isinstance(found, str | int | float) else None
