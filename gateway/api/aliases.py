"""Second addresses of named workflows: `route: /tryon` in a manifest makes it POST /tryon."""

from __future__ import annotations

from aiohttp import web

from gateway import errors
from gateway.api import named
from gateway.api.middleware import ROUTE, Handler
from gateway.api.parts import PARTS

#: What requests to aliases are counted under: how many there are, the manifests decide.
_COUNTED_AS = "/workflow/{name}"


@web.middleware
async def answer_aliases(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Look an address that the table does not have up in the manifests."""
    if not isinstance(request.match_info.http_exception, web.HTTPNotFound):
        return await handler(request)
    workflow = request.app[PARTS].workflows.by_route(request.path)
    if workflow is None:
        return await handler(request)
    request[ROUTE] = _COUNTED_AS
    if request.method != "POST":
        raise errors.MethodNotAllowed(
            f"{request.path[:200]} takes POST.",
            hint=f"GET /workflow/{workflow.name} tells what it takes.",
        )
    return await named.answer(request, workflow)
