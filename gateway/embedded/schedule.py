"""Which node runs next: the order that ComfyUI picks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.embedded.graph import Graph, sources
from gateway.embedded.nodes import CLASSES


class CycleFound(Exception):
    """Dependency cycle detected"""

    def __init__(self, node_id: str) -> None:
        super().__init__(self.__doc__)
        self.node_id = node_id


class Schedule:
    """The nodes still to run, and who waits for whom; cached nodes are never waited for."""

    def __init__(
        self, graph: Graph, outputs: Iterable[str], is_cached: Callable[[str], bool]
    ) -> None:
        self._graph = graph
        self._is_cached = is_cached
        self._waits_for: dict[str, set[str]] = {}
        for node_id in outputs:
            self._add(node_id)

    def _add(self, output: str) -> None:
        todo = [output]
        while todo:
            node_id = todo.pop()
            if node_id in self._waits_for:
                continue
            needed = [s for s in sources(self._graph[node_id]["inputs"]) if not self._is_cached(s)]
            self._waits_for[node_id] = set(needed)
            todo += needed

    def next(self) -> str | None:
        """The node to run now, None when all have run; raises CycleFound when none can."""
        if not self._waits_for:
            return None
        ready = [node_id for node_id, waits in self._waits_for.items() if not waits]
        if not ready:
            raise CycleFound(next(iter(self._waits_for)))
        for distance in range(3):
            for node_id in ready:
                if self._leads_to_output(node_id, distance):
                    return node_id
        return ready[0]

    def done(self, node_id: str) -> None:
        del self._waits_for[node_id]
        for waits in self._waits_for.values():
            waits.discard(node_id)

    def _leads_to_output(self, node_id: str, distance: int) -> bool:
        if distance == 0:
            return CLASSES[self._graph[node_id]["class_type"]].is_output
        return any(
            self._leads_to_output(waiting, distance - 1)
            for waiting, waits in self._waits_for.items()
            if node_id in waits
        )
