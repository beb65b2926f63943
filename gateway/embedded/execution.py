"""One prompt from execution_start to its last node: what is cached, what runs, what fails."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.embedded.caching import Cache, signatures
from gateway.embedded.faults import NAN_OUTPUT, Faults
from gateway.embedded.folders import Folders
from gateway.embedded.graph import is_link
from gateway.embedded.interruption import Interruption
from gateway.embedded.nodes import CLASSES
from gateway.embedded.nodes.definition import Context, Interrupted, Node, Result
from gateway.embedded.pending import Finished, Prompt
from gateway.embedded.reporter import Reporter
from gateway.embedded.schedule import CycleFound, Schedule
from gateway.embedded.validation import type_name

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workbench:
    """What every prompt is run with."""

    folders: Folders
    cache: Cache
    interruption: Interruption
    faults: Faults
    metadata: bool


class Execution:
    """Runs the nodes of one prompt in the worker's thread; `count` numbers the prompts.

    Memory was freed last after the prompt numbered `freed_at`.
    """

    def __init__(
        self,
        prompt: Prompt,
        bench: Workbench,
        reporter: Reporter,
        count: int,
        freed_at: int,
    ) -> None:
        self._prompt = prompt
        self._graph = prompt.graph
        self._bench = bench
        self._cache = bench.cache
        self._faults = bench.faults
        self._reporter = reporter
        self._count = count
        self._freed_at = freed_at
        self._executed: list[str] = []
        self._signatures: dict[str, Hashable] = {}

    def run(self) -> Finished:
        self._reporter.announce("execution_start")
        self._signatures = signatures(self._graph, self._bench.folders)
        self._cache.keep_only(self._graph, self._signatures)
        cached = [node_id for node_id in self._graph if self._is_cached(node_id)]
        self._reporter.announce("execution_cached", nodes=cached)
        return self._finished(self._run_nodes())

    def _run_nodes(self) -> bool | None:
        schedule = Schedule(self._graph, self._prompt.outputs, self._is_cached)
        try:
            while (node_id := schedule.next()) is not None:
                if not self._succeeds(node_id):
                    return False
                self._executed.append(node_id)
                schedule.done(node_id)
        except CycleFound as found:
            self._reporter.announce("execution_error", **self._cycle(found))
            return True if self._executed else None
        self._reporter.announce("execution_success")
        return True

    def _cycle(self, found: CycleFound) -> dict[str, Any]:
        """A cycle through inputs that the class does not know, which validation overlooks."""
        return {
            **self._where(found.node_id),
            "exception_message": str(found),
            "exception_type": "graph.DependencyCycleError",
            "traceback": [],
            "current_inputs": [],
            "current_outputs": list(self._graph),
        }

    def _finished(self, is_success: bool | None) -> Finished:
        finished = Finished(messages=self._reporter.messages, is_success=is_success)
        for node_id in self._graph:
            ui = self._cache.uis.get(self._signatures[node_id])
            if ui is not None:
                finished.outputs[node_id] = ui
                finished.meta[node_id] = {
                    "node_id": node_id,
                    "display_node": node_id,
                    "parent_node": None,
                    "real_node_id": node_id,
                }
        return finished

    def _succeeds(self, node_id: str) -> bool:
        inputs: dict[str, Any] = {}
        try:
            self._execute(node_id, inputs)
        except Interrupted:
            log.info("Processing interrupted")
            self._reporter.announce("execution_interrupted", to_all=True, **self._where(node_id))
            return False
        except Exception as failure:
            log.exception("!!! Exception during processing !!!")
            self._reporter.announce("execution_error", **self._why(node_id, inputs, failure))
            return False
        return True

    def _execute(self, node_id: str, inputs: dict[str, Any]) -> None:
        """Run one node, or report the output it had; `inputs` is filled for the case of failure."""
        if self._is_cached(node_id):
            self._reporter.executed(node_id, self._cache.uis.get(self._signatures[node_id]))
        else:
            self._reporter.started(node_id)
            self._fill(node_id, inputs)
            self._reporter.executing(node_id)
            self._faults.at_node(self._count, self._freed_at, self._class(node_id).name)
            self._bench.interruption.pause(self._faults.slow)
            self._keep(node_id, self._call(node_id, inputs))
        self._reporter.finished(node_id)
        self._faults.after_node(self._count, self._reporter.flush)

    def _fill(self, node_id: str, inputs: dict[str, Any]) -> None:
        """What the node is called with: its known inputs, and every link, known or not."""
        types = self._class(node_id).input_types(self._bench.folders)
        known = {name for group in types.values() for name in group}
        for name, value in self._graph[node_id]["inputs"].items():
            if is_link(value):
                inputs[name] = self._cache.values[self._signatures[value[0]]][value[1]]
            elif name in known:
                inputs[name] = value
        for name, kind in types.get("hidden", {}).items():
            extra = self._prompt.extra_data.get("extra_pnginfo")
            inputs[name] = self._graph if kind == "PROMPT" else extra

    def _call(self, node_id: str, inputs: dict[str, Any]) -> Result:
        node = self._class(node_id)
        memory_key = (node_id, node.name)
        context = Context(
            folders=self._bench.folders,
            metadata=self._bench.metadata,
            graph=self._graph,
            extra_pnginfo=self._prompt.extra_data.get("extra_pnginfo"),
            memory=self._cache.memories.setdefault(memory_key, {}),
            report=partial(self._reporter.step, node_id),
            pause=partial(self._bench.interruption.pause, self._faults.step_delay),
        )
        hidden = node.hidden or {}
        return node.run(
            context, **{name: value for name, value in inputs.items() if name not in hidden}
        )

    def _keep(self, node_id: str, result: Result) -> None:
        signature = self._signatures[node_id]
        if result.ui is not None:
            ui = {**result.ui, **(NAN_OUTPUT if self._faults.nan_frames else {})}
            self._cache.uis[signature] = ui
            self._reporter.executed(node_id, ui)
        self._cache.values[signature] = result.values

    def _where(self, node_id: str) -> dict[str, Any]:
        kind = self._graph[node_id]["class_type"]
        return {"node_id": node_id, "node_type": kind, "executed": self._executed}

    def _why(self, node_id: str, inputs: dict[str, Any], failure: Exception) -> dict[str, Any]:
        return {
            **self._where(node_id),
            "exception_message": f"{failure}\n",
            "exception_type": getattr(failure, "exception_type", None) or type_name(failure),
            "traceback": traceback.format_tb(failure.__traceback__),
            "current_inputs": {name: [_shown(value)] for name, value in inputs.items()},
            "current_outputs": list(self._graph),
        }

    def _is_cached(self, node_id: str) -> bool:
        return self._signatures[node_id] in self._cache.values

    def _class(self, node_id: str) -> Node:
        return CLASSES[self._graph[node_id]["class_type"]]


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
