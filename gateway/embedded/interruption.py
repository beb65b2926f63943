"""Stopping the prompt that runs, from another thread, at its next node or step."""

from __future__ import annotations

import threading

from gateway.embedded.nodes.definition import Interrupted


class Interruption:
    """A flag that the running prompt looks at; raised once for each time it was set."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    def forget(self) -> None:
        self._asked.clear()

    def pause(self, seconds: float = 0.0) -> None:
        """Let time pass; raises Interrupted as soon as the prompt is to stop."""
        if self._asked.wait(seconds):
            self._asked.clear()
            raise Interrupted
