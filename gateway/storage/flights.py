"""One piece of work for many askers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway import errors

Result = TypeVar("Result")


@dataclass
class _Flight(Generic[Result]):
    task: asyncio.Task[Result]
    askers: int = 0


class Flights(Generic[Result]):
    """Work by key: whoever asks for what is under way waits for it, and does not begin it again."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Result]] = {}

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Return what the work comes to; the last asker that leaves cancels it.

        Raises what the work raises, the same object for every asker, and Draining when `close`
        ends it.
        """
        flight = self._flights.get(key) or self._start(key, work)
        flight.askers += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.task.cancelled() and not _is_cancelled():
                raise errors.Draining from None
            raise
        finally:
            flight.askers -= 1
            if not flight.askers and not flight.task.done():
                # Whoever asks from now on gets work of their own.
                self._forget(key, flight.task)
                flight.task.cancel()

    async def close(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(
        self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Result]]
    ) -> _Flight[Result]:
        flight = _Flight(asyncio.create_task(work(), name=f"flight {key}"))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, task))
        return flight

    def _landed(self, key: Hashable, task: asyncio.Task[Result]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            # Nobody may be left to hear of it, and asyncio would complain.
            task.exception()

    def _forget(self, key: Hashable, task: asyncio.Task[Result]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())
