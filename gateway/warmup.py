"""The warm-up prompt: what must succeed before the first ready."""

from __future__ import annotations

import asyncio

import orjson

from gateway import errors, graph
from gateway.config import Settings
from gateway.log import logger
from gateway.models.resolver import Resolver
from gateway.runner import Runner
from gateway.storage.fetcher import Fetcher

_LARGEST_BYTES = 16 * 1024 * 1024


class WarmUp:
    """Runs the warm-up prompt, where one is set, as a job whose outputs nobody wants."""

    def __init__(
        self, settings: Settings, fetcher: Fetcher, resolver: Resolver, runner: Runner
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._resolver = resolver
        self._runner = runner

    async def run(self) -> None:
        """Read it and run it; raises what is wrong with it."""
        raw = await self._read()
        if raw is None:
            return
        workflow = _workflow(raw)
        logger.info("warming up")
        refs = await self._resolver.resolve(workflow)
        await self._runner.warm_up(workflow, [ref.as_input() for ref in refs])

    async def _read(self) -> bytes | None:
        settings = self._settings
        if settings.warmup_prompt_file is not None:
            return await asyncio.to_thread(settings.warmup_prompt_file.read_bytes)
        if settings.warmup_prompt_url is not None:
            return await self._fetcher.read(settings.warmup_prompt_url, limit_bytes=_LARGEST_BYTES)
        return None


def _workflow(raw: bytes) -> graph.Graph:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as failure:
        raise errors.InvalidJson(f"The warm-up prompt is not JSON: {failure}.") from None
    workflow = found.get("prompt", found) if isinstance(found, dict) else found
    if not isinstance(workflow, dict):
        raise errors.InvalidRequest("The warm-up prompt is not a workflow in API format.")
    return graph.check_shape(workflow)
