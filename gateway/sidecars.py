"""What made the outputs of a run: told from the graph that ran, and from the models it used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any, Protocol

import aiohttp

from gateway import graph
from gateway.comfy.calls import Calls
from gateway.jobs.job import Job
from gateway.log import logger
from gateway.workflows.sampling.recipe import recipe
from gateway.workflows.sampling.samplers import Sampler, samplers

VERSION = metadata.version("comfy-gateway")
_VERSION_LENGTH = 100


class Checksums(Protocol):
    """Who knows the sha256 of models."""

    def known(self, folder: str, name: str) -> str | None:
        """Return it, or None; it touches the disk."""
        ...

    def want(self, models: Iterable[tuple[str, str]]) -> None:
        """Have these (folder, name) read in the background; returns at once."""
        ...


class Sidecars:
    """Finds out what a sidecar tells; `media.sidecar_files` writes it."""

    def __init__(self, checksums: Checksums | None = None) -> None:
        self._checksums = checksums
        self._comfyui: str | None = None

    async def connected(self, calls: Calls) -> None:
        """Ask a ComfyUI that was just started for its version; one that does not tell is fine."""
        try:
            system = (await calls.json("GET", "/system_stats")).get("system")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
            logger.debug("comfyui did not tell its version", error=str(failure)[:200])
            system = None
        found = system.get("comfyui_version") if isinstance(system, dict) else None
        self._comfyui = found[:_VERSION_LENGTH] if isinstance(found, str) else None

    def origin(self, job: Job, ran: graph.Graph, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return {recipes, versions} of a run's outputs, for a thread; {} where none are wished."""
        if job.request.get("metadata") is False or not outputs:
            return {}
        workflow = graph.without_marks(ran)
        nodes = dict.fromkeys(str(entry["node_id"]) for entry in outputs)
        found = samplers(workflow)
        return {
            "recipes": {node_id: self._recipe(workflow, node_id, found) for node_id in nodes},
            "versions": {"gateway": VERSION, "comfyui": self._comfyui},
        }

    def _recipe(
        self, workflow: graph.Graph, node_id: str, found: Sequence[Sampler]
    ) -> dict[str, Any]:
        own = _own(workflow, node_id)
        if own is None:
            return {"models": []}
        made = recipe(workflow, own, found).as_dict()
        return {**made, "models": [self._checked(model) for model in made["models"]]}

    def _checked(self, model: dict[str, Any]) -> dict[str, Any]:
        known = self._checksums and self._checksums.known(model["folder"], model["name"])
        return {**model, "sha256": known or None}

    def run_over(self, result: dict[str, Any]) -> None:
        """Have the models read whose checksums were not known; later jobs tell them."""
        if self._checksums is None:
            return
        models = [model for made in result.get("recipes", {}).values() for model in made["models"]]
        wanted = {(model["folder"], model["name"]) for model in models if not model["sha256"]}
        self._checksums.want(sorted(wanted))


def _own(workflow: graph.Graph, node_id: str) -> str | None:
    """Return the graph's node; one that a node of it expanded into is called after that: 5.0.1."""
    while node_id not in workflow:
        node_id, dot, _ = node_id.rpartition(".")
        if not dot:
            return None
    return node_id
