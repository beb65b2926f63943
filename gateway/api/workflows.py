"""The named workflows: what each asks for, and whether this ComfyUI can run it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from aiohttp import web

from gateway import graph
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS, Parts
from gateway.comfy import presence
from gateway.comfy.nodes import Catalog
from gateway.workflows import json_schema, values
from gateway.workflows.catalog import WAITS, Entry
from gateway.workflows.workflow import Workflow


async def list_workflows(request: web.Request) -> web.Response:
    """Return every named workflow, broken ones among them."""
    parts = request.app[PARTS]
    mistakes = [dataclasses.asdict(mistake) for mistake in parts.workflows.mistakes]
    listed = await asyncio.to_thread(_listed, parts)
    return json_response({"workflows": listed, "mistakes": mistakes})


async def get_workflow(request: web.Request) -> web.Response:
    """Return one named workflow, and its graph."""
    parts, name = request.app[PARTS], request.match_info["name"]
    entry = next((found for found in parts.workflows.entries() if found.name == name), None)
    if entry is None:
        # It raises, with the names that are like this one.
        entry = Entry(name, parts.workflows.get(name))
    prompt = entry.workflow.graph if entry.workflow is not None else None
    described = _described(entry, parts.catalog)
    return json_response({**described, "prompt": json_schema.without_secrets(prompt)})


def _listed(parts: Parts) -> list[dict[str, Any]]:
    return [_described(entry, parts.catalog) for entry in parts.workflows.entries()]


def _described(entry: Entry, catalog: Catalog) -> dict[str, Any]:
    mistakes = [dataclasses.asdict(mistake) for mistake in entry.mistakes]
    found: dict[str, Any] = {"name": entry.name, "description": None, "available": False}
    if entry.workflow is None:
        lacks = presence.Missing()
    else:
        found |= _told(entry.workflow)
        lacks = presence.missing(_as_called(entry.workflow), catalog)
        # Before the first ready nobody knows what ComfyUI has.
        found["available"] = not lacks if catalog.is_known else None
    if not catalog.is_known:
        lacks = presence.Missing()
    if entry.waits:
        found["waits_for"] = WAITS
    return {
        **found,
        "missing_nodes": lacks.nodes,
        "missing_models": lacks.models,
        "mistakes": mistakes,
        "warnings": entry.workflow.warnings if entry.workflow is not None else (),
    }


def _told(workflow: Workflow) -> dict[str, Any]:
    found = {
        "description": workflow.description,
        "parameters": json_schema.schema(workflow),
        "metadata": json_schema.without_secrets(workflow.metadata),
        "example": json_schema.example(workflow),
        "version": workflow.version,
    }
    optional = {"route": workflow.route, "preset": workflow.preset}
    return found | {key: value for key, value in optional.items() if value is not None}


def _as_called(workflow: Workflow) -> graph.Graph:
    """Return the graph with the models that a request gets which names none."""
    edits: dict[tuple[str, str], Any] = {
        place: parameter.default
        for parameter in workflow.parameters.values()
        if parameter.type in ("model", "lora") and parameter.default is not None
        for place in parameter.places
    }
    made = graph.with_inputs(workflow.graph or {}, edits)
    idle = {node_id for (node_id, _), value in edits.items() if value == values.NO_LORA}
    return {node_id: node for node_id, node in made.items() if node_id not in idle}
