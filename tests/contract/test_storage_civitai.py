"""Civitai's links over real sockets: signed URLs on another host, and what its API tells."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.schemas import Auth, BearerAuth, QueryAuth
from gateway.storage.civitai import CivitaiProvider
from gateway.storage.failures import TransferFailed
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.provider import Span
from tests.contract.providers.site import Site, serving

TOKEN = "planted"
BODY = bytes(range(256)) * 16
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(TOKEN) as found:
        found.files["7"] = BODY
        yield found


@pytest.fixture
async def provider(site: Site) -> AsyncIterator[CivitaiProvider]:
    guard = NetworkGuard(("127.0.0.1", "localhost"))
    async with HttpProvider(guard, proxies={}).open() as http:
        yield CivitaiProvider(http, hosts=(site.host,))


async def read(provider: CivitaiProvider, url: str, auth: Auth | None, span: Span) -> bytes:
    async with provider.read(url, auth, span) as reply:
        assert reply.start == span.start
        return b"".join([chunk async for chunk in reply.chunks()])


BEARER = BearerAuth(type="bearer", token=TOKEN)
QUERY = QueryAuth(type="query", query_param="token", query_value=TOKEN)


@pytest.mark.parametrize(
    ("query", "auth"),
    [("", BEARER), ("", QUERY), (f"?token={TOKEN}", None)],
    ids=["bearer", "query", "in the URL"],
)
async def test_a_link_is_followed_with_its_token_and_no_further(
    site: Site, provider: CivitaiProvider, query: str, auth: Auth | None
) -> None:
    url = site.url("7") + query
    assert provider.matches(url)
    provider.check(url)
    found = await provider.stat(url, auth)
    assert (found.size, found.sha256) == (len(BODY), SHA256)
    assert found.filename == "detail.safetensors"
    assert await read(provider, url, auth, Span()) == BODY
    assert await read(provider, url, auth, Span(10, 20, found.version)) == BODY[10:20]
    signed = [request for request in site.asked if request.path.startswith("/signed/")]
    assert len(signed) == 3
    assert not [request for request in signed if TOKEN in f"{request.url}{request.raw_headers}"]
    asked = [request for request in site.asked if "model-versions" in request.path]
    assert len(asked) == 1


async def test_the_hash_comes_with_the_body_too(site: Site, provider: CivitaiProvider) -> None:
    site.is_open = True
    async with provider.read(site.url("7"), None) as reply:
        assert reply.stat.sha256 == SHA256


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500),
        web.Response(text="<html>"),
        web.Response(text="[" * 10),
        web.Response(body=b"1" * (5 << 20)),
        web.json_response({"files": []}),
    ],
    ids=["fails", "a page", "cut", "too long", "nothing"],
)
async def test_without_the_api_there_is_no_hash_and_no_failure(
    site: Site, provider: CivitaiProvider, answer: web.Response
) -> None:
    site.is_open, site.api = True, answer
    assert (await provider.stat(site.url("7"), None)).sha256 is None


async def test_a_refusal_says_how_to_give_a_token(site: Site, provider: CivitaiProvider) -> None:
    with pytest.raises(TransferFailed) as stated:
        await provider.stat(site.url("7"), None)
    with pytest.raises(TransferFailed) as readed:
        await read(provider, site.url("7"), None, Span())
    for caught in (stated, readed):
        assert caught.value.verdict.reason == "the host answered 401: it refuses access"
        assert "https://civitai.com/**" in (caught.value.verdict.hint or "")
        assert "?token=" in (caught.value.verdict.hint or "")


async def test_other_failures_stay_as_they_are(site: Site, provider: CivitaiProvider) -> None:
    with pytest.raises(TransferFailed) as caught:
        await provider.stat("http://127.0.0.1:1/api/download/models/7", None)
    assert caught.value.verdict.retryable


async def test_nothing_is_uploaded(provider: CivitaiProvider, site: Site, tmp_path: Path) -> None:
    with pytest.raises(TransferFailed, match="takes no uploads"):
        await provider.write(site.url("7"), None, tmp_path / "x", "image/png")
