"""The worker: takes prompts one after the other, runs their nodes, and tells what happens."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.embedded import frames
from gateway.embedded.caching import Cache, signatures
from gateway.embedded.faults import Faults
from gateway.embedded.folders import Folders
from gateway.embedded.graph import is_link
from gateway.embedded.nodes import CLASSES
from gateway.embedded.nodes.definition import Interrupted, Node, Result
from gateway.embedded.pending import Finished, Pending, Prompt
from gateway.embedded.progress import Progress, identity
from gateway.embedded.schedule import Schedule
from gateway.embedded.sockets import Sockets
from gateway.embedded.validation import type_name

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

NAN_OUTPUT = {"scores": [float("nan"), float("inf")]}


@dataclass(slots=True)
class Executor:
    """Runs in a thread of its own, for the life of the process."""

    folders: Folders
    pending: Pending
    sockets: Sockets
    faults: Faults
    metadata: bool = True
    preview_size: int | None = 512
    interrupted: threading.Event = field(default_factory=threading.Event)
    cache: Cache = field(default_factory=Cache)
    count: int = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        threading.Thread(target=self._work, args=(loop,), name="worker", daemon=True).start()

    def interrupt(self) -> None:
        self.interrupted.set()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            prompt = self.pending.take()
            if prompt is not None:
                began = time.perf_counter()
                self._run(prompt, loop)
                log.info("Prompt executed in %.2f seconds", time.perf_counter() - began)
            if self.pending.asked_to_free():
                self.cache.clear()

    def _run(self, prompt: Prompt, loop: asyncio.AbstractEventLoop) -> None:
        self.count += 1
        self.interrupted.clear()
        self.faults.at_prompt(self.count, loop)
        self.sockets.client_id = prompt.client_id
        finished = _Execution(self, prompt).run()
        self.sockets.node_id = None
        self.pending.done(finished)
        if prompt.client_id is not None:
            data = {"node": None, "prompt_id": prompt.prompt_id}
            self.sockets.send({"type": "executing", "data": data}, prompt.client_id)

    def pause(self, seconds: float) -> None:
        """Let time pass, unless the prompt is to stop."""
        if seconds > 0:
            self.interrupted.wait(seconds)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        if self.interrupted.is_set():
            self.interrupted.clear()
            raise Interrupted


class _Execution:
    """One prompt from execution_start to its last frame."""

    def __init__(self, executor: Executor, prompt: Prompt) -> None:
        self._executor = executor
        self._prompt = prompt
        self._cache = executor.cache
        self._progress = Progress(prompt.prompt_id)
        self._finished = Finished()
        self._executed: list[str] = []
        self._signatures: dict[str, Hashable] = {}

    def run(self) -> Finished:
        graph = self._prompt.graph
        self._announce("execution_start")
        self._signatures = signatures(graph, self._executor.folders)
        self._cache.keep_only(graph, self._signatures)
        self._announce("execution_cached", nodes=[n for n in graph if self._is_cached(n)])
        schedule = Schedule(graph, self._prompt.outputs, self._is_cached)
        while (node_id := schedule.next()) is not None:
            if not self._succeeds(node_id):
                self._finished.is_success = False
                break
            self._executed.append(node_id)
            schedule.done(node_id)
        else:
            self._announce("execution_success")
        self._collect()
        return self._finished

    def _collect(self) -> None:
        for node_id in self._prompt.graph:
            ui = self._cache.uis.get(self._signatures[node_id])
            if ui is not None:
                self._finished.outputs[node_id] = ui
                self._finished.meta[node_id] = {
                    "node_id": node_id,
                    "display_node": node_id,
                    "parent_node": None,
                    "real_node_id": node_id,
                }

    # -- one node

    def _succeeds(self, node_id: str) -> bool:
        inputs: dict[str, Any] = {}
        try:
            self._execute(node_id, inputs)
        except Interrupted:
            log.info("Processing interrupted")
            data = self._failed(node_id)
            self._announce("execution_interrupted", to_all=True, **data)
            return False
        except Exception as failure:
            log.exception("!!! Exception during processing !!!")
            self._announce("execution_error", **self._error(node_id, inputs, failure))
            return False
        return True

    def _execute(self, node_id: str, inputs: dict[str, Any]) -> None:
        if self._is_cached(node_id):
            self._send_executed(node_id, self._cache.uis.get(self._signatures[node_id]))
        else:
            self._send("progress_state", self._progress.start(node_id))
            self._fill_inputs(node_id, inputs)
            self._begin(node_id)
            result = self._call(node_id, inputs)
            if result.ui is not None:
                self._cache.uis[self._signatures[node_id]] = result.ui
                self._send_executed(node_id, result.ui)
            self._cache.values[self._signatures[node_id]] = result.values
        self._send("progress_state", self._progress.finish(node_id))
        self._executor.faults.after_node(self._executor.count)

    def _begin(self, node_id: str) -> None:
        if self._prompt.client_id is not None:
            self._executor.sockets.node_id = node_id
            data = {"node": node_id, "display_node": node_id, "prompt_id": self._prompt.prompt_id}
            self._send("executing", data)
        self._executor.sockets.send_nan_frames(self._prompt.client_id)
        self._executor.faults.at_node(self._executor.count)
        self._executor.pause(self._executor.faults.slow)

    def _call(self, node_id: str, inputs: dict[str, Any]) -> Result:
        node = self._class(node_id)
        hidden = node.hidden or {}
        result = node.run(
            _NodeContext(self, node_id),
            **{name: value for name, value in inputs.items() if name not in hidden},
        )
        if result.ui is not None and self._executor.faults.nan_frames:
            return Result(result.values, {**result.ui, **NAN_OUTPUT})
        return result

    def _fill_inputs(self, node_id: str, inputs: dict[str, Any]) -> None:
        """What the node is called with: known inputs, and links, known or not."""
        known = self._class(node_id).input_types(self._executor.folders)
        names = {name for group in known.values() for name in group}
        for name, value in self._prompt.graph[node_id]["inputs"].items():
            if is_link(value):
                inputs[name] = self._cache.values[self._signatures[value[0]]][value[1]]
            elif name in names:
                inputs[name] = value
        for name, kind in (known.get("hidden") or {}).items():
            inputs[name] = self._hidden(kind)

    def _hidden(self, kind: str) -> Any:
        if kind == "PROMPT":
            return self._prompt.graph
        return self._prompt.extra_data.get("extra_pnginfo")

    def step(self, node_id: str, value: int, total: int, preview: Callable[[], Image]) -> None:
        executor = self._executor
        executor.pause(executor.faults.step_delay)
        self._send("progress_state", self._progress.update(node_id, value, total))
        prompt_id = self._prompt.prompt_id
        data = {"value": value, "max": total, "prompt_id": prompt_id, "node": node_id}
        client_id = self._prompt.client_id
        size = executor.preview_size
        if size is not None and executor.sockets.supports(client_id, "supports_preview_metadata"):
            metadata = {"node_id": node_id, "prompt_id": prompt_id, **identity(node_id)}
            frame = frames.preview_with_metadata(preview(), size, metadata)
            executor.sockets.send(frame, client_id)
            self._send("progress", data)
            return
        self._send("progress", data)
        if size is not None:
            executor.sockets.send(frames.preview(preview(), size), client_id)

    # -- telling

    def _announce(self, event: str, to_all: bool = False, **data: Any) -> None:
        """Record a message for the history, and send it."""
        data = {"prompt_id": self._prompt.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        self._finished.messages.append((event, data))
        if self._prompt.client_id is not None or to_all:
            self._send(event, data)

    def _send(self, event: str, data: dict[str, Any]) -> None:
        # Without a client id a frame goes to everyone, as in ComfyUI.
        self._executor.sockets.send({"type": event, "data": data}, self._prompt.client_id)

    def _send_executed(self, node_id: str, ui: dict[str, list[Any]] | None) -> None:
        if self._prompt.client_id is not None:
            prompt_id = self._prompt.prompt_id
            data = {"node": node_id, "display_node": node_id, "output": ui, "prompt_id": prompt_id}
            self._send("executed", data)

    def _failed(self, node_id: str) -> dict[str, Any]:
        kind = self._prompt.graph[node_id]["class_type"]
        return {"node_id": node_id, "node_type": kind, "executed": self._executed}

    def _error(self, node_id: str, inputs: dict[str, Any], failure: Exception) -> dict[str, Any]:
        kind = getattr(failure, "exception_type", None) or type_name(failure)
        return {
            **self._failed(node_id),
            "exception_message": f"{failure}\n",
            "exception_type": kind,
            "traceback": traceback.format_tb(failure.__traceback__),
            "current_inputs": {name: [_shown(value)] for name, value in inputs.items()},
            "current_outputs": list(self._prompt.graph),
        }

    # -- looking up

    def _is_cached(self, node_id: str) -> bool:
        return self._signatures[node_id] in self._cache.values

    def _class(self, node_id: str) -> Node:
        return CLASSES[self._prompt.graph[node_id]["class_type"]]

    def memory(self, node_id: str) -> dict[str, Any]:
        key = (node_id, self._prompt.graph[node_id]["class_type"])
        return self._cache.memories.setdefault(key, {})

    def context_facts(self) -> tuple[Folders, bool, Prompt]:
        return self._executor.folders, self._executor.metadata, self._prompt


class _NodeContext:
    """What one running node sees of its execution."""

    def __init__(self, execution: _Execution, node_id: str) -> None:
        self._execution = execution
        self._node_id = node_id
        self.folders, self.metadata, prompt = execution.context_facts()
        self.graph: dict[str, Any] = prompt.graph
        self.extra_pnginfo: dict[str, Any] | None = prompt.extra_data.get("extra_pnginfo")
        self.memory = execution.memory(node_id)

    def step(self, value: int, total: int, preview: Callable[[], Image]) -> None:
        self._execution.step(self._node_id, value, total, preview)


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
