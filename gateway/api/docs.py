"""/openapi.json, and the page that shows it."""

from __future__ import annotations

from aiohttp import web

from gateway import errors


async def openapi(_: web.Request) -> web.Response:
    """Return the OpenAPI document of this gateway."""
    raise errors.NotFound


async def page(_: web.Request) -> web.Response:
    """Return the page that shows the OpenAPI document."""
    raise errors.NotFound


async def asset(_: web.Request) -> web.Response:
    """Return a file that the page needs."""
    raise errors.NotFound
