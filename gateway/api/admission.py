"""What a graph becomes before it is stored: checked, its base64 files, its URLs understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway import graph
from gateway.api import engine_hint
from gateway.api.parts import Parts
from gateway.comfy import nodes
from gateway.jobs.job import ModelInput
from gateway.log import logger
from gateway.media.inputs import RemoteInput
from gateway.models.wanted import Want
from gateway.schemas import Credential
from gateway.storage import credentials


@dataclass(frozen=True)
class Admitted:
    """A graph that may be stored, and what its job needs."""

    workflow: graph.Graph
    models: list[ModelInput]
    #: Whether something is to be fetched before it can run.
    needs_fetch: bool
    #: Names of the input files that were made for it.
    made: list[str]
    #: What stood in its URLs as user and password.
    credentials: list[Credential]


async def admit(parts: Parts, workflow: graph.Graph) -> Admitted:
    """Return the graph as it is stored.

    Raises InvalidGraph, NoOutput, UnknownModelFolder, and what is wrong with a URL or an input.
    """
    await check_graph(parts, workflow)
    models = await _admit_models(parts, workflow)
    workflow, needs_fetch, made = await _admit_media(parts, workflow, models)
    workflow, models, found = _without_users(workflow, models)
    return Admitted(workflow, models, needs_fetch or bool(models), made, found)


async def _admit_models(parts: Parts, workflow: graph.Graph) -> list[ModelInput]:
    if not any(True for _ in graph.urls(workflow)):
        return []
    # ComfyUI never looks at nodes that no output needs.
    needed = graph.needed(workflow, parts.catalog.output_classes)
    refs = await parts.resolver.resolve(needed)
    for ref in refs:
        parts.models.check(Want(url=ref.url, folder=ref.folder, location=ref.location))
    return [ref.as_input() for ref in refs]


def _without_users(
    workflow: graph.Graph, models: list[ModelInput]
) -> tuple[graph.Graph, list[ModelInput], list[Credential]]:
    """Take users and passwords out of the URLs: a graph is stored and echoed."""
    found: list[Credential] = []

    def bare(url: str) -> str:
        without, credential = credentials.taken_out(url)
        if credential is not None and credential not in found:
            found.append(credential)
        return without

    edits: dict[tuple[str, str], Any] = {}
    for ref in graph.media_refs(workflow):
        if graph.is_url(ref.value):
            edits[ref.node_id, ref.name] = bare(ref.value)
    for node_id, entries in graph.directory_lists(workflow):
        urls = [bare(entry) if graph.is_url(entry) else entry for entry in entries]
        edits[node_id, "directory"] = urls
    for ref in graph.urls(workflow):
        # Also where no output needs the node: its weights are not fetched, and yet it is stored.
        if ref.name in graph.MODEL_INPUTS.get(workflow[ref.node_id]["class_type"], {}):
            edits[ref.node_id, ref.name] = bare(ref.value)
    stripped = [ModelInput({**one, "url": bare(one["url"])}) for one in models]
    edits |= {(one["node_id"], one["name"]): one["url"] for one in stripped}
    return graph.with_inputs(workflow, edits) if found else workflow, stripped, found


async def check_graph(parts: Parts, workflow: graph.Graph) -> None:
    """Refuse what ComfyUI would refuse; a doubt is settled by asking it once more."""
    problems = nodes.check(workflow, parts.catalog)
    if not problems:
        return
    doubtful = nodes.stale_classes(problems, workflow)
    if doubtful:
        try:
            await parts.refresh_classes(doubtful)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
            # ComfyUI may be restarting: what it said last still holds.
            logger.debug("object_info was not refreshed", error=str(failure)[:200])
        problems = nodes.check(workflow, parts.catalog)
    if problems:
        refusal = nodes.refusal(problems, workflow)
        if problems[0].type == "invalid_prompt":
            engine_hint.add(parts, refusal)
        raise refusal


async def _admit_media(
    parts: Parts, workflow: graph.Graph, models: list[ModelInput]
) -> tuple[graph.Graph, bool, list[str]]:
    """Return the graph with base64 turned into files, whether work remains, the files' names."""
    edits: dict[tuple[str, str], Any] = {}
    made: list[str] = []
    needs_fetch = False
    weights = {(one["node_id"], one["name"]) for one in models}
    for ref in graph.media_refs(workflow):
        if (ref.node_id, ref.name) in weights:
            continue
        known = parts.catalog.get(workflow[ref.node_id]["class_type"])
        if known is not None and ref.value in known.choices.get(ref.name, ()):
            continue
        admitted = await parts.inputs.admit(ref.value, location=ref.location)
        if isinstance(admitted, RemoteInput):
            needs_fetch = True
        elif admitted.created:
            made.append(admitted.name)
            edits[ref.node_id, ref.name] = admitted.name
    for node_id, entries in graph.directory_lists(workflow):
        location = graph.directory_location(node_id)
        listed = await parts.inputs.admit_directory(entries, location=location)
        names = [one.url if isinstance(one, RemoteInput) else one.name for one in listed]
        made += [one.name for one in listed if not isinstance(one, RemoteInput)]
        edits[node_id, "directory"] = names
        needs_fetch = True
    edits |= await _admit_folders(parts, workflow)
    return graph.with_inputs(workflow, edits), needs_fetch, made


async def _admit_folders(parts: Parts, workflow: graph.Graph) -> dict[tuple[str, str], Any]:
    """Check folders given by name; ComfyUI's loader by path gets the path of that name."""
    edits = {}
    for node_id, node in workflow.items():
        name = node.get("inputs", {}).get("directory")
        wants_path = graph.FOLDER_LOADERS.get(node["class_type"])
        if wants_path is not None and isinstance(name, str):
            location = graph.directory_location(node_id)
            await parts.inputs.admit_folder(name, location=location)
            if wants_path:
                edits[node_id, "directory"] = str(parts.settings.inputs / name)
    return edits
