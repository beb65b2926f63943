"""Clears away what nobody is owed any more: outputs, inputs, records, rows of what was made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from gateway import clock, errors, metrics
from gateway.config import Settings
from gateway.jobs.job import Job
from gateway.jobs.store import Store
from gateway.jobs.waiters import Waiters
from gateway.log import logger
from gateway.media.inputs import Inputs

_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Lifetimes:
    """How long things are kept after a job is over, seconds."""

    outputs: float
    records: float
    dead_letters: float
    generations: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings ask for."""
        return cls(
            outputs=settings.output_ttl_s,
            records=settings.job_ttl_s,
            dead_letters=settings.dead_letter_ttl_s,
            generations=settings.generation_ttl_s,
        )

    @property
    def pause(self) -> float:
        """Between two rounds: a quarter of the shortest life, within a second and half a minute."""
        return min(max(self.outputs / 4, 1.0), _LONGEST_PAUSE_S)


class Janitor:
    """Goes its round; what a request is still reading stays."""

    def __init__(
        self,
        store: Store,
        waiters: Waiters,
        inputs: Inputs,
        discard: Callable[[Job], Awaitable[None]],
        lifetimes: Lifetimes,
    ) -> None:
        """`discard` deletes a job's files."""
        self._store = store
        self._waiters = waiters
        self._inputs = inputs
        self._discard = discard
        self._lifetimes = lifetimes

    async def run(self) -> None:
        """Go round after round; broad on purpose: a full disk must not end the cleaning of it."""
        while True:
            await asyncio.sleep(self._lifetimes.pause)
            try:
                await self.round(clock.now())
            except errors.Unavailable as failure:
                logger.error("the janitor waits for the store", reason=failure.message)
            except Exception:  # noqa: BLE001 - the background-task guard is one of the three places
                metrics.errors_total.labels("janitor").inc()
                logger.exception("the janitor could not clean")

    async def round(self, now: float) -> None:
        """Delete what is due at this time, seconds since 1970."""
        await self._discard_outputs(now - self._lifetimes.outputs)
        while await self._store.outbox.bury(now - self._lifetimes.dead_letters):
            pass
        while await self._store.expire(now - self._lifetimes.records):
            pass
        while await self._store.generations.expire(now - self._lifetimes.generations):
            pass
        await self._inputs.sweep(now)

    async def _discard_outputs(self, before: float) -> None:
        kept: list[OSError] = []
        # What is owed to somebody the store does not name.
        for job in await self._store.expired(before):
            if self._waiters.is_waited_for(job.id):
                continue
            try:
                await self._discard(job)
            except OSError as failure:
                # A file that may not be deleted keeps no other from being so.
                kept.append(failure)
            else:
                await self._store.forget_files(job.id)
        if kept:
            logger.error("outputs could not be deleted", jobs=len(kept), reason=str(kept[0]))
