"""`gateway models` and `gateway cache` against a server that answers as a gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.cli import cache, models
from gateway.cli.client import Address, Client, Refused
from gateway.cli.failure import CommandFailed
from tests.listening import listening

URL = "https://host/a.pt"


def download(url: str, state: str = "fetching") -> dict[str, Any]:
    return {"url": url, "state": state, "bytes": 3, "total": 5}


def file(name: str, *pins: str) -> dict[str, Any]:
    used = f"2026-01-0{name[0]}T00:00:00Z"
    return {
        "name": name,
        "size": 5,
        "pins": list(pins),
        "last_used": used,
        "links": [],
        "url": None,
    }


class Server:
    """What it answers; a download is over when `done` is set."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.asked: list[Any] = []
        self.downloads: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.deletions: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/download", self.post_download),
            web.get("/downloads", self.get_downloads),
            web.get("/models", self.get_models),
            web.get("/cache", self.get_cache),
            web.delete("/cache/{name}", self.delete),
        ]

    async def post_download(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        await self.done.wait()
        if self.asked[-1]["url"] != URL:
            return web.json_response({"error": "There is no such file."}, status=400)
        return web.json_response({"filename": "a.pt", "size": 5, "duration": 0.1})

    async def get_downloads(self, _: web.Request) -> web.Response:
        return web.json_response({"downloads": self.downloads})

    async def get_models(self, _: web.Request) -> web.Response:
        return web.json_response({"loras": ["a.pt", "sub/b.pt"], "vae": []})

    async def get_cache(self, _: web.Request) -> web.Response:
        return web.json_response({"files": self.files, "size": 5, "limit": None})

    async def delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.asked.append(name)
        return web.Response(status=self.deletions.get(name, 204))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with listening(*server.routes()) as url, Client.open(Address(url)) as made:
        yield made


class TestPull:
    async def test_it_hears_of_its_own_download(self, server: Server, client: Client) -> None:
        own = download(URL)
        server.downloads = [download("https://host/b.pt"), download(URL, "failed"), own]
        heard = []

        def watch(one: dict[str, Any]) -> None:
            heard.append(one)
            server.done.set()

        wanted = models.Wanted(URL, "loras", "a.pt")
        assert (await models.pull(client, wanted, watch))["filename"] == "a.pt"
        assert heard == [own]
        assert server.asked == [wanted.body]

    async def test_what_the_gateway_refuses_is_told(self, server: Server, client: Client) -> None:
        server.done.set()
        with pytest.raises(CommandFailed, match="no such file"):
            await models.pull(client, models.Wanted("https://host/c", "loras"), print)


class TestList:
    async def test_all_with_their_folders(self, client: Client) -> None:
        assert await models.listed(client, None) == ["loras/a.pt", "loras/sub/b.pt"]

    async def test_those_of_a_folder(self, client: Client) -> None:
        assert await models.listed(client, "loras") == ["a.pt", "sub/b.pt"]
        assert await models.listed(client, "vae") == []

    async def test_a_folder_that_is_not_there(self, client: Client) -> None:
        with pytest.raises(CommandFailed, match="'lora'") as failed:
            await models.listed(client, "lora")
        assert failed.value.hint == "The known ones: loras, vae."


class TestPrune:
    async def test_what_no_job_needs_goes_the_oldest_first(
        self, server: Server, client: Client
    ) -> None:
        server.files = [file("3.pt"), file("1.pt"), file("2.pt", "a")]
        deleted = await cache.prune(client, None)
        assert [one["name"] for one in deleted] == server.asked == ["1.pt", "3.pt"]

    @pytest.mark.parametrize("status", [404, 409])
    async def test_what_others_were_faster_with_is_passed_over(
        self, server: Server, client: Client, status: int
    ) -> None:
        server.files = [file("1.pt"), file("2.pt")]
        server.deletions = {"1.pt": status}
        assert [one["name"] for one in await cache.prune(client, None)] == ["2.pt"]

    async def test_any_other_refusal_ends_it(self, server: Server, client: Client) -> None:
        server.files = [file("1.pt"), file("2.pt")]
        server.deletions = {"1.pt": 500}
        with pytest.raises(Refused):
            await cache.prune(client, None)
