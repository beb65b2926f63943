"""Whose credentials open a cached file, where hosts answer strangers in their own ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import errors
from gateway.models import names
from gateway.models.cache import Wanted
from gateway.schemas import Auth, BearerAuth
from tests.cache_stand import Host, Place, caching, hosting
from tests.weights import safetensors

BODY = safetensors(5000)
RIGHT = BearerAuth(type="bearer", token="right-s3cret")
WRONG = BearerAuth(type="bearer", token="wrong-s3cret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


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


async def test_a_login_page_is_no_reason_to_remove_an_adopted_file(
    host: Host, tmp_path: Path
) -> None:
    page = {"Content-Type": "text/html; charset=utf-8"}
    url = host.on("/m.safetensors", b"<!doctype html>Log in", headers=page)
    adopted = tmp_path / f"{names.stem(url)}.safetensors"
    adopted.write_bytes(BODY)
    async with caching(tmp_path) as place:
        with pytest.raises(errors.CredentialsRefused):
            await get(place, url, None)
        assert adopted.read_bytes() == BODY
        host.on("/m.safetensors", BODY, authorization=f"Bearer {RIGHT.token}")
        await get(place, url, RIGHT)
        assert not place.told("file_downloaded")


@pytest.mark.parametrize(("kind", "is_served"), [("octet-stream", True), ("json", False)])
async def test_a_file_that_changed_at_its_source_is_served_to_its_owner_as_it_was(
    host: Host, tmp_path: Path, kind: str, is_served: bool
) -> None:
    def answer(body: bytes, version: str, kind: str) -> str:
        headers = {"ETag": version, "Content-Type": f"application/{kind}"}
        return host.on(
            "/m.safetensors", body, headers=headers, authorization=f"Bearer {RIGHT.token}"
        )

    url = answer(BODY, '"1"', "octet-stream")
    async with caching(tmp_path) as place:
        await get(place, url, RIGHT)
    answer(safetensors(6000), '"2"', kind)
    async with caching(tmp_path) as place:
        if is_served:
            await get(place, url, RIGHT)
            assert not place.told("file_downloaded")
        else:
            with pytest.raises(errors.CredentialsRefused, match="another file"):
                await get(place, url, RIGHT)
        with pytest.raises(errors.CredentialsRefused):
            await get(place, url, WRONG)
