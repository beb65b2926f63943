"""What cannot be known of a file, and what is worth a warning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway import errors
from gateway.workflows.canvas.nodes import Node

_MOST_TOLD = 100
_LONGEST = 100
#: What files call ComfyUI itself.
_CORE = "comfy-core"
#: What to do about a node.
INSTALL = "Install what brings the class into this ComfyUI, or send a workflow without it."
SAVE_ANEW = "Open the workflow in this ComfyUI, mend the node there, and save it anew."
UNTANGLE = "Take out one of the links, or one of the nodes, that lead back to where they begin."


@dataclass
class Problems:
    """What came up while a file was converted."""

    #: As the answer has them: {id, title, class_type, message, custom_node?}.
    refused: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    _remedies: dict[str, None] = field(default_factory=dict)

    def refuse(self, node: Node, node_id: str, message: str, remedy: str = SAVE_ANEW) -> None:
        """Note why a node cannot be converted, and what to do about it."""
        found = {"id": node_id, "title": node.title, "class_type": node.type, "message": message}
        source = node.properties.get("cnr_id") or node.properties.get("aux_id")
        self._remedies[remedy] = None
        if source == _CORE and remedy == INSTALL:
            self._remedies["It is of ComfyUI itself, of another version."] = None
        elif isinstance(source, str) and source != _CORE:
            found["custom_node"] = source
        self.refused.append(found)

    def warn(self, node: Node, node_id: str, message: str) -> None:
        """Note what a caller may want to know of a node."""
        if len(self.warnings) < _MOST_TOLD:
            self.warnings.append(f"Node {_called(node_id, node.title, node.type)}: {message}.")

    def check(self) -> None:
        """Raise NotConvertible when a node cannot be converted."""
        if not self.refused:
            return
        first = self.refused[0]
        called = _called(first["id"], first["title"], first["class_type"])
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        raise errors.NotConvertible(
            f"Node {called}: {first['message']}{more}.",
            hint=self._hint(),
            location="prompt",
            nodes=self.refused[:_MOST_TOLD],
        )

    def _hint(self) -> str:
        sources = {one["custom_node"][:_LONGEST] for one in self.refused if "custom_node" in one}
        named = ", ".join(sorted(sources)[:20])
        told = [f"The file says that it comes from: {named}."] if named else []
        return " ".join([*self._remedies, *told])


def _called(node_id: str, title: str, kind: str) -> str:
    shown = "" if title == kind else f" {title[:_LONGEST]!r}"
    return f"{node_id[:_LONGEST]}{shown} ({kind[:_LONGEST]})"
