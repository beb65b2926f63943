"""Faults on demand: the engine misbehaves when a flag asks for it; tests need no patches."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAN_FRAMES: tuple[dict[str, Any], ...] = (
    {"type": "monitor", "data": None},
    {"type": "monitor", "data": {"load": float("nan"), "free": float("inf")}},
)


NAN_OUTPUT: dict[str, list[Any]] = {"scores": [float("nan"), float("inf")]}


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and when; 0 means never. Prompts and frames are counted from 1."""

    startup_delay: float = 0.0
    crash_after: int = 0
    exit_code: int = 1
    ignore_sigterm: bool = False
    drop_ws: int = 0
    mute_ws: int = 0
    slow: float = 0.0
    step_delay: float = 0.0
    hang_after: int = 0
    hang_node: int = 0
    nan_frames: bool = False
    no_prompt_id: bool = False

    def before_start(self) -> None:
        if self.ignore_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(self.startup_delay)

    def at_prompt(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        """The worker begins prompt number `count`."""
        if count == self.hang_after:
            loop.call_soon_threadsafe(_block_for_ever)

    def at_node(self, count: int) -> None:
        """A node of prompt number `count` was announced and is about to run."""
        if self.hang_node and count >= self.hang_node:
            _block_for_ever()

    def after_node(self, count: int, flush: Callable[[], None]) -> None:
        """A node of prompt number `count` has run, or was found in the cache."""
        if count == self.crash_after:
            # So that whoever posted the prompt knows that it was accepted, and began.
            flush()
            os._exit(self.exit_code)


def _block_for_ever() -> None:
    threading.Event().wait()
