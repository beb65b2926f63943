"""When ComfyUI is started again, and what a crash loop is; pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 60.0
#: So many starts in a row that never reached ready are a crash loop.
LOOP_STARTS = 5
#: Reasons to restart a ComfyUI that is in good health, between jobs.
PLANNED = frozenset({"recycle_jobs", "recycle_rss"})
#: A child that was ready for so long begins with a clean record.
STABLE_S = 60.0


def restart_delay(failures: int) -> float:
    """Return the pause before the start that follows so many failures in a row, seconds."""
    if failures < 1:
        return 0.0
    # The exponent is bounded, since 2.0 ** 1024 is no float.
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 16), LONGEST_DELAY_S)


@dataclass(frozen=True)
class Record:
    """How the starts went so far."""

    #: Ends in a row that were not asked for.
    failures: int = 0
    #: Starts in a row that never reached ready.
    never_ready: int = 0

    @property
    def is_loop(self) -> bool:
        """Whether this is a crash loop."""
        return self.never_ready >= LOOP_STARTS

    @property
    def delay(self) -> float:
        """The pause before the next start, seconds."""
        return LONGEST_DELAY_S if self.is_loop else restart_delay(self.failures)

    def ready(self) -> Record:
        """Return the record once a start has reached ready."""
        return replace(self, never_ready=0)

    def ended(self, ready_s: float | None) -> Record:
        """Return the record after an end that was not asked for; None = it was never ready."""
        if ready_s is None:
            return Record(self.failures + 1, self.never_ready + 1)
        return Record(1 if ready_s >= STABLE_S else self.failures + 1)

    def sentence(self, ended: str, *, gives_up: bool) -> str:
        """Return what to tell an operator of an end and of what follows it."""
        if gives_up:
            return f"{ended} ALWAYS_RESTART_COMFYUI=false: it is not started again."
        again = f"{ended} It is started again in {self.delay:g} s."
        if not self.is_loop:
            return again
        return f"Crash loop: {self.never_ready} starts in a row never became ready. {again}"


def restart_sentence(reason: str) -> str:
    """Return what to tell an operator of a restart that was asked for."""
    between = " between two jobs" if reason in PLANNED else ""
    return f"ComfyUI is being restarted{between}: {reason}."


def exit_sentence(status: int) -> str:
    """Return how the child ended, in words."""
    if status == -signal.SIGKILL:
        return "ComfyUI was killed by SIGKILL, perhaps for want of memory."
    if status < 0:
        return f"ComfyUI was killed by {_signal_name(-status)}."
    if status == 127:
        return "ComfyUI ended with exit code 127: its command could not be run."
    return f"ComfyUI ended with exit code {status}."


def exit_code(status: int) -> int:
    """Return the exit code that stands for a child's status, as a shell has it."""
    return 128 - status if status < 0 else status


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
