"""Runs a graph once more when the machine failed it: memory that was full, a GPU that slipped."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import aiohttp

from gateway import errors, graph, metrics
from gateway.comfy import troubles
from gateway.comfy.attempt import Execution
from gateway.comfy.calls import Calls
from gateway.comfy.client import Comfy
from gateway.comfy.observer import Observer
from gateway.comfy.troubles import Trouble
from gateway.log import logger

#: How long prompts may wait while none runs, seconds. Models of tens of gigabytes take a while to
#: leave the GPU; after an error of the GPU there is nothing to wait for.
PATIENCE_S = {Trouble.OUT_OF_MEMORY: 60.0, Trouble.GPU_LOST: 10.0}
_LOOK_EVERY_S = 0.5

#: Every core has these two, and needs no GPU for them.
_BREATH: graph.Graph = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}

_WARNINGS = {
    Trouble.OUT_OF_MEMORY: "ComfyUI ran out of memory; its memory was freed and the job run again.",
    Trouble.GPU_LOST: "The GPU reported an error; the job was run again.",
}

_MEMORY_HINT = (
    "It was tried twice, the second time with ComfyUI's memory freed first. Ask for a smaller width"
    " and height or batch_size, use fewer or smaller (fp8, GGUF) models and LoRAs, a tiled VAE"
    " decode, or let ComfyUI offload (--lowvram)."
)

_T = TypeVar("_T")

#: Runs a graph under a prompt_id.
Once = Callable[[graph.Graph, str], Coroutine[Any, Any, Execution]]


class Recovery:
    """Decides whether what failed is run again, and makes ComfyUI fit for it."""

    def __init__(self, comfy: Comfy, calls: Calls) -> None:
        self.comfy = comfy
        self._calls = calls
        self._cleaning: set[asyncio.Task[None]] = set()

    def cleaning(self, task: asyncio.Task[None]) -> None:
        """Let nothing be run again until this task has deleted what a failed run wrote."""
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)

    async def run(self, workflow: graph.Graph, once: Once) -> Execution:
        """Run a graph, and once more when the machine failed it; raises what the last run raised.

        Raises OutOfMemory, and GpuLost when only another process can help.
        """
        try:
            return await once(workflow, str(uuid.uuid4()))
        except errors.ExecutionFailed as failure:
            trouble = troubles.told_by(failure)
            if trouble is None:
                raise
            logger.warning("the job is run once more", trouble=trouble, reason=failure.message)
            metrics.retries_total.labels(trouble).inc()
            execution = await self._again(workflow, once, trouble, failure)
            return replace(execution, warnings=[*execution.warnings, _WARNINGS[trouble]])

    async def _again(
        self,
        workflow: graph.Graph,
        once: Once,
        trouble: Trouble,
        failure: errors.ExecutionFailed,
    ) -> Execution:
        if self._cleaning:
            await asyncio.wait(self._cleaning)
        if trouble is Trouble.OUT_OF_MEMORY:
            await self._free_memory(failure)
        prompt_id = str(uuid.uuid4())
        # Outputs that the failed run cached would be reported, and not be written, again.
        anew = graph.run_anew(workflow, prompt_id, self.comfy.catalog.output_classes)
        try:
            return await self._watched(once(anew, prompt_id), trouble, failure)
        except errors.ExecutionFailed as second:
            raise _told(second) from None

    async def _free_memory(self, failure: errors.ExecutionFailed) -> None:
        """Have ComfyUI unload everything before it takes the prompt that is sent next.

        Its worker looks whether it was asked to after each prompt, and while it waits; a wish that
        comes between the two is seen only after the next prompt. So one that does nothing follows.
        """
        wish = {"unload_models": True, "free_memory": True}
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            await self._calls.json("POST", "/free", wish)
        # Whatever becomes of it, ComfyUI has taken it up.
        with contextlib.suppress(errors.JobFailed, errors.InvalidGraph, errors.NoOutput):
            breath = self.comfy.execute(_BREATH, {}, Observer(), str(uuid.uuid4()))
            execution = await self._watched(breath, Trouble.OUT_OF_MEMORY, failure)
            self.comfy.on_leftovers(execution.files)

    async def _watched(
        self,
        running: Coroutine[Any, Any, _T],
        trouble: Trouble,
        failure: errors.ExecutionFailed,
    ) -> _T:
        """Return what it returns; raises GpuLost when ComfyUI takes nothing up any more.

        An error of the GPU that comes while memory is freed ends ComfyUI's worker for good; its
        HTTP goes on to answer, and to queue.
        """
        task = asyncio.create_task(running)
        looking = asyncio.create_task(self._until_stuck(PATIENCE_S[trouble]))
        try:
            await asyncio.wait({task, looking}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise errors.GpuLost(failure)
            return await task
        finally:
            for each in (task, looking):
                each.cancel()
            await asyncio.gather(task, looking, return_exceptions=True)

    async def _until_stuck(self, patience_s: float) -> None:
        """Return when prompts wait, and none has run for so long."""
        idle_s = 0.0
        while idle_s < patience_s:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                running, pending = await self._calls.queue()
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                continue  # whether it answers at all is the supervisor's to judge
            idle_s = idle_s + _LOOK_EVERY_S if pending and not running else 0.0


def _told(second: errors.ExecutionFailed) -> errors.GatewayError:
    """Return what a second failure in a row is to its caller."""
    trouble = troubles.told_by(second)
    if trouble is Trouble.OUT_OF_MEMORY:
        return errors.OutOfMemory(second.message, hint=_MEMORY_HINT, **second.details)
    if trouble is Trouble.GPU_LOST:
        return errors.GpuLost(second)
    return second
