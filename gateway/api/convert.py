"""POST /convert: a workflow as people save it in, the graph that /prompt runs out."""

from __future__ import annotations

from aiohttp import web

from gateway.api import converting, workflow_bodies
from gateway.api.graph_json import graph_response
from gateway.api.parts import PARTS
from gateway.schemas import ConvertRequest, parse

_UNCHANGED = "The workflow is in API format already: it is as it was given."


async def post_convert(request: web.Request) -> web.Response:
    """Answer with a workflow in API format, whichever format it is given in."""
    parts = request.app[PARTS]
    sent = await workflow_bodies.receive(request)
    wire, warnings = parse(
        ConvertRequest, sent.received.body, strict=parts.settings.strict_requests
    )
    found = await converting.graph_of(parts, sent.source(wire.prompt), wire.credentials)
    told = found.warnings or [_UNCHANGED]
    return await graph_response({"prompt": found.graph, "warnings": [*warnings, *told]})
