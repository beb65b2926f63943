"""How ComfyUI stands, for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.log import logger

State = Literal["starting", "warming", "ready", "draining", "stopped", "crashed"]
Reason = Literal["starting", "warming", "comfyui_down", "crash_loop", "draining"]


@dataclass(frozen=True)
class Snapshot:
    """How ComfyUI stands."""

    state: State = "starting"
    #: Why jobs may not be sent; None when they may.
    reason: Reason | None = "starting"
    #: A sentence for operators.
    detail: str | None = "ComfyUI is starting."
    restarts: int = 0
    was_ready_once: bool = False
    pid: int | None = None
    #: When this state began, seconds since the epoch.
    since: float = 0.0
    #: How the last run ended, -N for signal N; None when none has.
    exit_status: int | None = None
    #: The last lines of the run that ended last.
    last_lines: str = ""


def log_change(before: Snapshot, now: Snapshot) -> None:
    """Log what an operator should know of a change."""
    if now.state == before.state and now.detail == before.detail:
        return
    if now.state == "crashed" and now.reason == "crash_loop" != before.reason:
        logger.error(now.detail, state=now.state, last_lines=now.last_lines)
        return
    say = logger.warning if now.reason in ("comfyui_down", "crash_loop") else logger.info
    say(now.detail or "ComfyUI is ready.", state=now.state, pid=now.pid)
