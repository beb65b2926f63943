"""Whose credentials open a cached file, where hosts answer strangers in their own ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import errors
from gateway.models.cache import Wanted
from gateway.schemas import Auth, BearerAuth
from tests.cache_stand import Place, caching
from tests.weights import safetensors

BODY = safetensors(5000)
RIGHT = BearerAuth(type="bearer", token="right-s3cret")
WRONG = BearerAuth(type="bearer", token="wrong-s3cret")


async def get(place: Place, url: str, auth: Auth | None) -> None:
    await place.cache.get(Wanted(url, auth=auth), "job")


@pytest.mark.parametrize(
    ("login", "content_type", "tells_size"),
    [
        ("<!doctype html>Log in", "text/html", True),
        ("<!doctype html>Log in", "text/html", False),
        ('{"error": "log in"}', "application/json", True),
    ],
)
async def test_a_host_that_sends_strangers_to_its_login_has_not_accepted_them(
    tmp_path: Path, login: str, content_type: str, tells_size: bool
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/login":
            response = web.Response(text=login, content_type=content_type)
            if not tells_size:
                response.enable_chunked_encoding()
            return response
        if request.headers.get("Authorization") != f"Bearer {RIGHT.token}":
            raise web.HTTPFound("/login")
        return web.Response(body=BODY)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, caching(tmp_path) as place:
        url = str(server.make_url("/m.safetensors"))
        await get(place, url, RIGHT)
        for _ in range(2):
            for auth in (None, WRONG):
                with pytest.raises(errors.CredentialsRefused):
                    await get(place, url, auth)
        await get(place, url, RIGHT)
