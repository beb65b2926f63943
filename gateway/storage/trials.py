"""Whether a transfer that failed is tried again, and how long to wait before."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.storage.failures import TransferFailed
from gateway.storage.pace import Patience


class Trials:
    """The tries of one transfer; `arrived` tells how many bytes are here."""

    def __init__(
        self,
        patience: Patience,
        arrived: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience
        self._arrived = arrived
        self._clock = clock
        self._before = arrived()
        self._began = clock()
        self._silences = 0
        self._told_s = 0.0

    def pause(self, failure: Exception) -> bool | float:
        """Return whether there is another try; a number is the seconds that the host asked for."""
        if not isinstance(failure, TransferFailed) or not failure.verdict.retryable:
            return False
        verdict = failure.verdict
        if verdict.is_silence:
            self._silences += 1
            return self._silences <= (self._patience.silences if self._is_proven else 1)
        if verdict.retry_after:
            self._told_s += verdict.retry_after
            return self._told_s <= self._patience.told_s and verdict.retry_after
        return self._is_proven or self._clock() - self._began < self._patience.unproven_s

    @property
    def _is_proven(self) -> bool:
        return self._arrived() > self._before
