"""Deletes what is over from ComfyUI's history, beside the way of jobs."""

from __future__ import annotations

import asyncio

import aiohttp

from gateway.comfy.calls import Calls
from gateway.log import logger

_EVERY_S = 1.0
_MOST = 200


class Forgetting:
    """Prompts that ComfyUI may forget, many at a time; `run` is to be running."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._waiting: list[str] = []

    def add(self, prompt_id: str) -> None:
        """Have a prompt forgotten."""
        self._waiting.append(prompt_id)

    def clear(self) -> None:
        """Leave it at that: the history is gone."""
        self._waiting.clear()

    async def run(self) -> None:
        """Delete until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            if batch:
                try:
                    await self._calls.json("POST", "/history", {"delete": batch})
                except (aiohttp.ClientError, OSError, ValueError) as failure:
                    logger.debug("history was not deleted", error=str(failure)[:200])
