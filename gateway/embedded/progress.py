"""How far each node of the running prompt is, as the progress_state frame tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Progress:
    """The nodes that have begun, in the order in which they did."""

    prompt_id: str
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def start(self, node_id: str) -> dict[str, Any]:
        return self._set(node_id, "running", 0.0, 1.0)

    def update(self, node_id: str, value: int, total: int) -> dict[str, Any]:
        return self._set(node_id, "running", value, total)

    def finish(self, node_id: str) -> dict[str, Any]:
        # A cached node finishes without having started; then the numbers are whole ones.
        total = self.nodes[node_id]["max"] if node_id in self.nodes else 1
        return self._set(node_id, "finished", total, total)

    def _set(self, node_id: str, state: str, value: float, total: float) -> dict[str, Any]:
        """Record it, and return the data of the frame that says so."""
        self.nodes[node_id] = {"value": value, "max": total, "state": state}
        names = {name: self._entry(name) for name in self.nodes}
        return {"prompt_id": self.prompt_id, "nodes": names}

    def _entry(self, node_id: str) -> dict[str, Any]:
        return {
            **self.nodes[node_id],
            "node_id": node_id,
            "prompt_id": self.prompt_id,
            **identity(node_id),
        }


def identity(node_id: str) -> dict[str, Any]:
    """The further names of a node, which differ only for nodes that other nodes create."""
    return {"display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}
