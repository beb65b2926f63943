"""The worker: a thread that takes prompts one after the other, for the life of the process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

from gateway.embedded.execution import Execution, Workbench
from gateway.embedded.pending import Pending, Prompt
from gateway.embedded.reporter import Reporter
from gateway.embedded.sockets import Sockets

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Executor:
    """Takes from the queue, runs, and files the result in the history."""

    pending: Pending
    sockets: Sockets
    bench: Workbench
    preview_size: int | None
    count: int = 0
    was_success: bool = True
    #: The prompt after which memory was freed last.
    freed_at: int = 0
    leaked: list[bytearray] = field(default_factory=list)

    def interrupt(self) -> None:
        self.bench.interruption.ask()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        threading.Thread(target=self._work, args=(loop,), name="worker", daemon=True).start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            prompt = self.pending.take()
            if prompt is not None:
                began = time.perf_counter()
                self._run(prompt, loop)
                log.info("Prompt executed in %.2f seconds", time.perf_counter() - began)
            if self.pending.asked_to_free():
                log.info("Memory was freed")
                self.bench.cache.clear()
                self.freed_at = self.count
            if prompt is not None and self.bench.faults.ends_worker(self.count):
                return

    def _run(self, prompt: Prompt, loop: asyncio.AbstractEventLoop) -> None:
        self.count += 1
        self.bench.faults.at_prompt(self.count, loop)
        self.bench.interruption.forget()
        self.sockets.client_id = prompt.client_id
        reporter = Reporter(prompt, self.sockets, self.preview_size)
        self.leaked.append(self.bench.faults.leak())
        finished = Execution(prompt, self.bench, reporter, self.count, self.freed_at).run()
        if finished.is_success is None:
            finished.is_success = self.was_success
        self.was_success = finished.is_success
        self.sockets.node_id = None
        # In this order, as in ComfyUI: success was told before the history has an entry.
        self.pending.done(finished)
        reporter.done()
