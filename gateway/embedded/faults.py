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


class OutOfMemory(Exception):
    """As torch says it."""

    exception_type = "torch.OutOfMemoryError"

    def __init__(self) -> None:
        super().__init__(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.65"
            " GiB of which 1.21 GiB is free."
        )


class GpuError(Exception):
    """As torch says it."""

    exception_type = "torch.AcceleratorError"

    def __init__(self) -> None:
        super().__init__(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"
            " asynchronously reported at some other API call."
        )


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
    oom_at: int = 0
    oom_from: int = 0
    oom_until_freed: int = 0
    gpu_error_at: int = 0
    gpu_error_from: int = 0
    fault_class: str = ""
    end_worker: int = 0
    leak_mb: int = 0

    def before_start(self) -> None:
        if self.ignore_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(self.startup_delay)

    def at_prompt(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        """The worker begins prompt number `count`."""
        if count == self.hang_after:
            loop.call_soon_threadsafe(_block_for_ever)

    def at_node(self, count: int, freed_at: int, class_type: str) -> None:
        """A node of prompt number `count` was announced and is about to run.

        Memory was freed last after prompt number `freed_at`.
        """
        if self.hang_node and count >= self.hang_node:
            _block_for_ever()
        if self.fault_class in ("", class_type):
            self._raise_at(count, freed_at)

    def _raise_at(self, count: int, freed_at: int) -> None:
        wants_memory = _reached(self.oom_until_freed, count) and freed_at < self.oom_until_freed
        if count == self.oom_at or _reached(self.oom_from, count) or wants_memory:
            raise OutOfMemory
        if count == self.gpu_error_at or _reached(self.gpu_error_from, count):
            raise GpuError

    def ends_worker(self, count: int) -> bool:
        """Whether the worker's thread ends after prompt number `count`."""
        return count == self.end_worker

    def leak(self) -> bytearray:
        """What a prompt never gives back; every page of it is touched."""
        return bytearray(b"\1") * (self.leak_mb * 1024 * 1024)

    def after_node(self, count: int, flush: Callable[[], None]) -> None:
        """A node of prompt number `count` has run, or was found in the cache."""
        if count == self.crash_after:
            # So that whoever posted the prompt knows that it was accepted, and began.
            flush()
            os._exit(self.exit_code)


def _reached(first: int, count: int) -> bool:
    return 0 < first <= count


def _block_for_ever() -> None:
    threading.Event().wait()
