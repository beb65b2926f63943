"""Prompts that wait, the one that runs, and those that are done."""

from __future__ import annotations

import copy
import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.embedded.graph import Graph

MAX_HISTORY = 10_000
SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


@dataclass(slots=True)
class Prompt:
    """One prompt as it was accepted."""

    number: float
    prompt_id: str
    graph: Graph
    extra_data: dict[str, Any]
    outputs: list[str]

    def wire(self) -> list[Any]:
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]

    @property
    def client_id(self) -> str | None:
        return self.extra_data.get("client_id")


@dataclass(slots=True)
class Finished:
    """What a prompt left behind."""

    outputs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    # None when no node had a say in it; then ComfyUI repeats what the last node before said.
    is_success: bool | None = True


class Pending:
    """The queue and the history; HTTP handlers and the worker's thread share it."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._heap: list[tuple[float, str, int, Prompt]] = []
        self._arrivals = itertools.count()
        self._running: Prompt | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._must_free = False

    def put(self, prompt: Prompt) -> None:
        with self._lock:
            key = (prompt.number, prompt.prompt_id, next(self._arrivals))
            heapq.heappush(self._heap, (*key, prompt))
            self._changed()
            self._wake.notify()

    def take(self) -> Prompt | None:
        """Wait for the next prompt and make it the running one; None when asked to free memory.

        As in ComfyUI, a wish to free memory that comes while nobody waits here wakes nobody.
        """
        with self._lock:
            while not self._heap:
                self._wake.wait()
                if not self._heap:
                    return None
            self._running = heapq.heappop(self._heap)[-1]
            self._changed()
            return self._running

    def done(self, finished: Finished) -> None:
        with self._lock:
            prompt, self._running = self._running, None
            assert prompt is not None
            if len(self._history) > MAX_HISTORY:
                self._history.pop(next(iter(self._history)))
            prompt.extra_data = {k: v for k, v in prompt.extra_data.items() if k not in SECRETS}
            self._history[prompt.prompt_id] = {
                "prompt": prompt.wire(),
                "outputs": finished.outputs,
                "status": {
                    "status_str": "success" if finished.is_success else "error",
                    "completed": finished.is_success,
                    "messages": finished.messages,
                },
                "meta": finished.meta,
            }
            self._changed()

    def free_memory(self) -> None:
        with self._lock:
            self._must_free = True
            self._wake.notify()

    def asked_to_free(self) -> bool:
        with self._lock:
            asked, self._must_free = self._must_free, False
            return asked

    # -- the queue

    def remaining(self) -> int:
        with self._lock:
            return len(self._heap) + (self._running is not None)

    def running_id(self) -> str | None:
        with self._lock:
            return self._running.prompt_id if self._running else None

    def queue(self) -> dict[str, Any]:
        with self._lock:
            return {
                "queue_running": [self._running.wire()] if self._running else [],
                "queue_pending": [prompt.wire() for *_, prompt in self._heap],
            }

    def clear_queue(self) -> None:
        with self._lock:
            self._heap = []
            self._changed()

    def remove(self, prompt_id: str) -> None:
        with self._lock:
            place = next((i for i, entry in enumerate(self._heap) if entry[1] == prompt_id), None)
            if place is None:
                return
            del self._heap[place]
            heapq.heapify(self._heap)
            if not self._heap:
                # ComfyUI clears the queue for its last entry, and so tells of it twice.
                self._changed()
            self._changed()

    # -- the history

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        with self._lock:
            if offset < 0:
                offset = 0 if max_items is None else len(self._history) - max_items
            first = max(offset, 0)
            last = None if max_items is None else first + max_items
            return dict(itertools.islice(self._history.items(), first, last))

    def history_of(self, prompt_id: str) -> dict[str, Any]:
        with self._lock:
            entry = self._history.get(prompt_id)
            return {} if entry is None else {prompt_id: copy.copy(entry)}

    def clear_history(self) -> None:
        with self._lock:
            self._history = {}

    def forget(self, prompt_id: str) -> None:
        with self._lock:
            self._history.pop(prompt_id, None)
