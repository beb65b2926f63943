"""When a webhook is tried again; pure."""

from __future__ import annotations

from dataclasses import dataclass

#: How much of a pause chance may take away or add: receivers that come back are not run over.
_JITTER = 0.1
#: A receiver may ask for a longer pause, up to this.
LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True)
class Schedule:
    """Pauses between the calls, seconds; the last one repeats. So many calls are made in all."""

    delays: tuple[float, ...]
    attempts: int

    def next_at(
        self, tries: int, now: float, chance: float, retry_after: float | None = None
    ) -> float | None:
        """Return when to call again after `tries` calls, or None: it is a dead letter.

        `chance` is between 0 and 1; `retry_after` is what the receiver asked for, in seconds.
        """
        if tries >= self.attempts:
            return None
        planned = self.delays[min(tries, len(self.delays)) - 1]
        jittered = planned * (1 + _JITTER * (2 * chance - 1))
        return now + max(jittered, min(retry_after or 0.0, LONGEST_PAUSE_S))
