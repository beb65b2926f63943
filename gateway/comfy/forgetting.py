"""Deletes what is over from ComfyUI's history, beside the way of jobs."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import aiohttp

from gateway.comfy.calls import Calls
from gateway.comfy.events import Frame
from gateway.log import logger

_EVERY_S = 1.0
_MOST = 200
#: A last frame that has not come by then was lost.
_LAST_FRAME_S = 30.0
#: ComfyUI itself keeps no more entries.
_KEPT = 10_000


class Forgetting:
    """Prompts that ComfyUI may forget, many at a time; `run` is to be running.

    ComfyUI tells of a success before its history has the entry, and only its last frame comes after
    that: to delete earlier may be to delete nothing.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        #: Prompts that may not be in the history yet, and since when they are over.
        self._unfiled: dict[str, float] = {}
        self._filed: deque[str] = deque(maxlen=_KEPT)

    def add(self, prompt_id: str, *, is_filed: bool) -> None:
        """Have a prompt forgotten; `is_filed` says that its last frame has come."""
        if is_filed:
            self._filed.append(prompt_id)
        else:
            self._unfiled[prompt_id] = time.monotonic()

    def on_frame(self, prompt_id: str, frame: Frame) -> None:
        """Hear a frame that came after a prompt was over."""
        if frame.type == "executing" and frame.data.get("node") is None:
            self._note(prompt_id)

    def clear(self) -> None:
        """Leave it at that: the history is gone."""
        self._unfiled.clear()
        self._filed.clear()

    async def run(self) -> None:
        """Delete until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            late = time.monotonic() - _LAST_FRAME_S
            for prompt_id in [name for name, since in self._unfiled.items() if since <= late]:
                self._note(prompt_id)
            await self._delete()

    def _note(self, prompt_id: str) -> None:
        if self._unfiled.pop(prompt_id, None) is not None:
            self._filed.append(prompt_id)

    async def _delete(self) -> None:
        while self._filed:
            batch = [self._filed.popleft() for _ in range(min(_MOST, len(self._filed)))]
            try:
                await self._calls.json("POST", "/history", {"delete": batch})
            except (aiohttp.ClientError, OSError, ValueError) as failure:
                logger.debug("history was not deleted", error=str(failure)[:200])
                self._filed.extendleft(reversed(batch))
                return
