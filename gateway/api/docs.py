"""/openapi.json, and the page that shows it; nothing of it comes from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from weakref import WeakKeyDictionary

from aiohttp import web

from gateway import errors
from gateway.api.operations import VERSION
from gateway.api.parts import PARTS
from gateway.workflows.catalog import Catalog as Workflows
from gateway.workflows.workflow import Workflow

#: What the page asks for, and what each file is; the package holds more than that.
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

_DAY = "public, max-age=86400"
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    # The viewer writes styles into the page; anything from another host is refused.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "X-Frame-Options": "DENY",
}

_building = asyncio.Lock()
#: The document of a catalog, and the version of the catalog that it tells of.
_built: WeakKeyDictionary[Workflows, tuple[int, bytes]] = WeakKeyDictionary()


async def openapi(request: web.Request) -> web.Response:
    """Return this description of every address, as OpenAPI 3.1."""
    workflows = request.app[PARTS].workflows
    async with _building:
        version = workflows.version
        found = _built.get(workflows)
        if found is None or found[0] != version:
            called = [entry.workflow for entry in workflows.entries() if entry.workflow]
            found = version, await asyncio.to_thread(_document, called)
            _built[workflows] = found
    return web.Response(
        body=found[1],
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-cache"},
    )


def _document(workflows: Sequence[Workflow]) -> bytes:
    # Built when somebody asks: an idle gateway carries neither the library nor the result.
    from gateway.api import openapi_workflows

    return openapi_workflows.with_workflows(_of_the_table(), workflows)


@cache
def _of_the_table() -> bytes:
    from gateway.api import openapi, routes

    return openapi.document(routes.TABLE, VERSION)


async def page(_: web.Request) -> web.Response:
    """Return a page on which every address can be read about and tried."""
    text = await asyncio.to_thread(_page)
    return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)


@cache
def _page() -> str:
    return resources.files(__package__).joinpath("docs.html").read_text()


async def asset(request: web.Request) -> web.FileResponse:
    """Return a file that the page at /docs needs."""
    name = request.match_info["asset"]
    if name not in ASSETS:
        raise errors.NotFound
    headers = {"Content-Type": ASSETS[name], "Cache-Control": _DAY}
    return web.FileResponse(_folder() / name, headers=headers)


@cache
def _folder() -> Path:
    from swagger_ui_bundle import swagger_ui_path

    return Path(str(swagger_ui_path))
