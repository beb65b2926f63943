"""Workflows of the canvas brought into API format: here, or by a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from gateway import errors
from gateway.cli.client import Client, Refused, canvas_nodes
from gateway.cli.failure import CommandFailed
from gateway.cli.fetching import shown
from gateway.cli.workflow_file import Held, WorkflowFile

if TYPE_CHECKING:
    from gateway.workflows.convert import Converted

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_NO_ROUTE = (404, 405)


class Unconverted(CommandFailed):
    """A workflow of the canvas cannot be brought into API format."""

    def __init__(self, source: str, failure: errors.NotConvertible) -> None:
        """`nodes` are sentences: which node, and why."""
        self.nodes = canvas_nodes(failure.details.get("nodes"))
        told = f"{source} cannot be brought into API format"
        if self.nodes:
            super().__init__(f"{told}.", hint="\n      ".join(self.nodes))
        else:
            super().__init__(f"{told}: {failure.message}", hint=failure.hint)


def graph_of(held: Held, definitions: Mapping[str, Any]) -> Converted:
    """Return the graph of a workflow of the canvas, by the definitions of `/object_info`.

    Raises Unconverted, CommandFailed where no node runs, and InvalidRequest for what is no
    workflow.
    """
    from gateway.workflows import convert

    try:
        found = convert.convert(held.content, definitions)
    except errors.NotConvertible as failure:
        raise Unconverted(held.source, failure) from None
    if not found.graph:
        raise CommandFailed(
            f"{held.source}: no node of it runs.",
            hint="Set those that are meant to run to Always in the canvas, and save it anew.",
        )
    return found


def here(held: Held, definitions: Mapping[str, Any]) -> WorkflowFile:
    """Return the file with its graph, converted where need is.

    Raises Unconverted, and what `Held.file` raises.
    """
    if not held.is_canvas:
        return held.file()
    found = graph_of(held, definitions)
    return held.file(found.graph, found.warnings)


def by_object_info(held: Held, source: str | None) -> WorkflowFile:
    """Return the file with its graph, converted by what `--object-info` names, or by ComfyUI.

    That is read only where need is. Raises CommandFailed, and what `Held.file` raises.
    """
    if not held.is_canvas:
        return held.file()
    from gateway.cli import object_info

    try:
        definitions = asyncio.run(object_info.read(source))
    except CommandFailed as failure:
        raise CommandFailed(
            f"{held.source} is in the format of the canvas, and is converted by what ComfyUI "
            f"says of its nodes. {failure.message}",
            hint=failure.hint,
        ) from None
    from gateway.workflows.convert import CONVERTED

    file = here(held, definitions)
    return replace(file, notes=(CONVERTED, *file.notes))


async def by_gateway(client: Client, held: Held) -> WorkflowFile:
    """Return the file with its graph, converted by a gateway; it is asked only where need is.

    Raises CommandFailed, and what `Held.file` raises.
    """
    if not held.is_canvas:
        return held.file()
    from gateway.workflows.convert import CONVERTED

    data = orjson.dumps({"prompt": held.content})
    try:
        found = await client.ask("POST", "/convert", data=data, headers=_JSON)
    except Refused as refused:
        if refused.status not in _NO_ROUTE:
            raise
        raise CommandFailed(
            f"The gateway at {shown(client.url)} takes no workflow of the canvas.",
            hint="Convert it here: gateway convert FILE --object-info URL --out FOLDER",
        ) from None
    warnings = [said for said in found.get("warnings", ()) if said != CONVERTED]
    return held.file(found.get("prompt") or {}, [CONVERTED, *warnings])
