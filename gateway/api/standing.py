"""How the gateway stands, for probes and for new prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from gateway.comfy.snapshot import Snapshot

Reason = Literal["starting", "warming", "comfyui_down", "queue_full", "draining"]


@dataclass(frozen=True)
class Standing:
    """How the gateway stands; `reason` is None when it is ready."""

    reason: Reason | None
    detail: str | None
    #: Whether prompts are taken: a ComfyUI that was ready once may be restarting meanwhile.
    accepts: bool
    was_ready: bool
    retry_after: float
    #: In a crash loop, ComfyUI's last lines.
    log: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, now: Snapshot, *, is_draining: bool) -> Self:
        """Return it, as ComfyUI and the gateway itself stand."""
        was_ready = now.was_ready_once
        if is_draining:
            return cls("draining", "The gateway is shutting down.", False, was_ready, 30.0)
        if now.reason is None:
            return cls(None, None, True, True, 1.0)
        is_looping = now.reason == "crash_loop"
        return cls(
            reason="comfyui_down" if now.reason == "crash_loop" else now.reason,
            detail=now.detail,
            accepts=was_ready and not is_looping,
            was_ready=was_ready,
            retry_after=30.0 if is_looping else 5.0,
            log=now.last_lines.splitlines()[-50:] if is_looping else [],
        )


class Health(Protocol):
    """Tells how the gateway stands."""

    def standing(self) -> Standing:
        """Return it as of now."""
        ...
