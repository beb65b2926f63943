"""The warm-up: what must succeed before the first ready."""

from __future__ import annotations

import asyncio
from typing import Any

import pybase64

from gateway import errors, given, graph, written
from gateway.config import Settings
from gateway.log import logger
from gateway.media.inputs import Inputs, LocalInput
from gateway.models.resolver import Resolver
from gateway.runner import Runner
from gateway.storage.fetcher import Fetcher
from gateway.workflows import build, seeds
from gateway.workflows.catalog import Catalog, Conversion
from gateway.workflows.files.conversion import converted
from gateway.workflows.python.scripts import Scripts
from gateway.workflows.workflow import Workflow

_LARGEST_BYTES = 16 * 1024 * 1024
#: Kinds of parameters that a plain picture stands in for.
_PICTURES = ("image", "mask")


class WarmUp:
    """Runs the warm-up prompt, where one is set, as a job whose outputs nobody wants."""

    def __init__(
        self,
        settings: Settings,
        fetcher: Fetcher,
        resolver: Resolver,
        runner: Runner,
        named: NamedGraphs,
        reading: Conversion,
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._resolver = resolver
        self._runner = runner
        self._named = named
        self._reading = reading

    async def run(self) -> None:
        """Read it and run it; raises what is wrong with it."""
        workflow = await self._workflow()
        if workflow is None:
            return
        logger.info("warming up")
        refs = await self._resolver.resolve(workflow)
        await self._runner.warm_up(workflow, [ref.as_input() for ref in refs])

    async def _workflow(self) -> graph.Graph | None:
        settings = self._settings
        if settings.warmup_prompt_file is not None:
            raw = await asyncio.to_thread(settings.warmup_prompt_file.read_bytes)
            return await asyncio.to_thread(_parsed, raw, self._reading)
        if settings.warmup_prompt_url is not None:
            url = settings.warmup_prompt_url
            raw = await self._fetcher.read(url, limit_bytes=_LARGEST_BYTES)
            return await asyncio.to_thread(_parsed, raw, self._reading)
        if settings.warmup_workflow is not None:
            return await self._named.graph_of(settings.warmup_workflow)
        return None


class NamedGraphs:
    """Builds a named workflow with the values of its example, so that its models are loaded."""

    def __init__(self, catalog: Catalog, scripts: Scripts, inputs: Inputs) -> None:
        self._catalog = catalog
        self._scripts = scripts
        self._inputs = inputs

    async def graph_of(self, name: str) -> graph.Graph:
        """Return the graph; raises WorkflowNotFound, WorkflowBroken, InvalidParameters."""
        workflow = self._catalog.get(name)
        values = {**workflow.example, **await self._pictures(workflow)}
        preset = self._catalog.presets.get(workflow.preset or "")
        if workflow.script is not None and workflow.source is not None:
            made = await self._scripts.build(workflow.source, workflow.script, values)
            return build.edited(made, preset, []).workflow
        built = build.build(workflow, values, preset, [], seeds.drawn)
        return built.workflow

    async def _pictures(self, workflow: Workflow) -> dict[str, Any]:
        """Return a plain picture for each one that is asked for: whose it is does not matter."""
        wanted = [
            name
            for name, parameter in workflow.parameters.items()
            if parameter.type in _PICTURES and (parameter.required or name in workflow.example)
        ]
        if not wanted:
            return {}
        encoded = pybase64.b64encode_as_string(await asyncio.to_thread(_plain_picture))
        admitted = await self._inputs.admit(encoded, location="input")
        assert isinstance(admitted, LocalInput)
        return dict.fromkeys(wanted, admitted.name)


def _plain_picture() -> bytes:
    """Return a PNG of 512 pixels square, half of it in light: a mask of nothing is refused."""
    import pyvips

    half = pyvips.Image.black(256, 512)
    picture: bytes = half.join(half + 200, "horizontal").cast("uchar").pngsave_buffer()
    return picture


def _parsed(raw: bytes, reading: Conversion) -> graph.Graph:
    workflow = given.workflow_of(raw, "The warm-up prompt")
    if written.is_deeper(workflow, reading.deepest):
        raise errors.InvalidJson(
            f"The warm-up prompt nests deeper than {reading.deepest} levels (MAX_JSON_DEPTH)."
        )
    if graph.is_ui_format(workflow):
        return converted(workflow, reading.definitions()).graph
    return graph.check_shape(workflow)
