"""`gateway check`: would ComfyUI take this workflow?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from gateway import errors, graph, loose_json, schemas
from gateway.cli.failure import CommandFailed
from gateway.cli.workflow_file import WorkflowFile
from gateway.comfy import nodes

_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)


async def object_info(source: str) -> dict[str, Any]:
    """Return what a file or ComfyUI itself says of its node classes."""
    raw = await (_fetched(source) if source.startswith(("http://", "https://")) else _read(source))
    try:
        # Custom nodes put NaN and Infinity into what they say of themselves.
        found = loose_json.parse(raw)
    except ValueError as failure:
        raise CommandFailed(f"{source} is not JSON: {failure}.") from None
    if not (isinstance(found, dict) and found):
        raise CommandFailed(f"{source} holds no node classes.")
    return found


async def _read(source: str) -> bytes:
    try:
        return await asyncio.to_thread(Path(source).read_bytes)
    except OSError as failure:
        raise CommandFailed(f"{source}: {failure.strerror}.") from None


async def _fetched(url: str) -> bytes:
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise CommandFailed(f"{url} answered {response.status}.")
            return await response.read()
    except (aiohttp.ClientError, TimeoutError) as failure:
        raise CommandFailed(
            f"ComfyUI cannot be asked at {url}: {failure or 'no answer in time'}.",
            hint="Start it, or give --object-info a file that /object_info was saved to.",
        ) from None


def problems(file: WorkflowFile, info: dict[str, Any]) -> list[errors.GatewayError]:
    """Return everything that would make the gateway refuse the workflow."""
    found = list(_of_request(file))
    catalog = nodes.Catalog()
    catalog.replace(info)
    try:
        reported = nodes.check(file.workflow, catalog)
    except errors.NoOutput as failure:
        return [*found, failure]
    return [*found, *(nodes.refusal([problem], file.workflow) for problem in reported)]


def _of_request(file: WorkflowFile) -> list[errors.GatewayError]:
    found: list[errors.GatewayError] = []
    for node_id, node in file.workflow.items():
        try:
            graph.check_prefixes({node_id: node})
        except errors.InvalidInput as failure:
            found.append(failure)
    try:
        schemas.parse(schemas.PromptRequest, file.body, strict=False)
    except errors.GatewayError as failure:
        found.append(failure)
    return found
