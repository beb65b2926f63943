"""What ComfyUI is asked of its models, and what holds while it does not answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway import errors
from gateway.comfy.folders import ModelFolders

CLASSES: dict[str, Any] = {
    "Custom / Loader": {
        "input": {
            "required": {"a": [["x.pt", 5]], "b": ["COMBO", {"options": ["y.pt"]}]},
            "optional": {
                "c": [[], {"tooltip": "none yet"}],
                "text": ["STRING", {}],
                "m": ["MODEL"],
            },
        }
    },
    "Odd": {"input": {"required": None, "optional": {"a": [], "b": None, "c": ["COMBO"]}}},
    "Broken": 5,
}


class Child:
    """A ComfyUI that one can take away."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {"loras": ["a.pt", "sub/b.pt"], "vae": []}
        self.asked: list[str] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/models", self.models)
        app.router.add_get("/models/{folder}", self.files_of)
        app.router.add_get("/experiment/models", self.places)
        app.router.add_get("/object_info/{name}", self.class_of)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response([*self.files, "custom_nodes"])

    async def places(self, _: web.Request) -> web.Response:
        return web.json_response(
            [None, {"name": "vae", "folders": ["/m/vae", 5]}, {"name": "loras", "folders": None}]
        )

    async def files_of(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["folder"])
        return web.json_response(self.files[request.match_info["folder"]])

    async def class_of(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        found = {name: CLASSES[name]} if name in CLASSES else {}
        return web.Response(body=orjson.dumps(found).replace(b"5", b"NaN"))


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    made = Child()
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def folders_of(child: Child) -> AsyncIterator[ModelFolders]:
    async with aiohttp.ClientSession() as session:
        yield ModelFolders(f"http://127.0.0.1:{child.port}", session, ["checkpoints"])


@pytest.fixture
async def folders(child: Child) -> AsyncIterator[ModelFolders]:
    async with folders_of(child) as made:
        yield made


class TestListing:
    async def test_every_folder_of_models_with_its_files(
        self, child: Child, folders: ModelFolders
    ) -> None:
        assert await folders.listing() == {"loras": ("a.pt", "sub/b.pt"), "vae": ()}
        assert await folders.names() == ("loras", "vae")
        assert "custom_nodes" not in child.asked

    async def test_it_is_as_of_now(self, child: Child, folders: ModelFolders) -> None:
        await folders.listing()
        child.files["my / models%"] = ["c.pt"]
        assert (await folders.listing())["my / models%"] == ("c.pt",)

    async def test_what_was_said_last_holds_for_the_resolver_alone(
        self, child: Child, folders: ModelFolders
    ) -> None:
        found = await folders.listing()
        await child.stop()
        assert await folders.last_listing() == found
        assert await folders.names() == ("loras", "vae")
        with pytest.raises(errors.NotReady) as refused:
            await folders.listing()
        assert refused.value.retry_after

    async def test_one_that_never_answered(self, child: Child, folders: ModelFolders) -> None:
        await child.stop()
        assert await folders.names() == ("checkpoints",)
        with pytest.raises(errors.NotReady):
            await folders.last_listing()

    async def test_names_that_are_none(self, child: Child, folders: ModelFolders) -> None:
        child.files = {"..": [], "loras": {"not": "a list"}, "vae": ["a.pt", None]}
        assert await folders.listing() == {"..": (), "loras": (), "vae": ("a.pt",)}


class TestCombos:
    async def test_what_a_class_lets_one_choose_from(self, folders: ModelFolders) -> None:
        assert await folders.combos(["Custom / Loader", "Odd", "Broken", "Missing", ".."]) == {
            "Custom / Loader": {"a": ("x.pt",), "b": ("y.pt",), "c": ()},
            "Odd": {},
            "Broken": {},
            "Missing": {},
            "..": {},
        }

    async def test_what_was_said_last_holds(self, child: Child, folders: ModelFolders) -> None:
        found = await folders.combos(["Custom / Loader"])
        await child.stop()
        assert await folders.combos(["Custom / Loader"]) == found
        with pytest.raises(errors.NotReady, match="the class Odd"):
            await folders.combos(["Odd"])


async def test_it_says_where_the_files_of_a_folder_lie(child: Child, folders: ModelFolders) -> None:
    assert await folders.paths("vae") == (Path("/m/vae"),)
    assert await folders.paths("loras") == ()
    assert await folders.paths("other") == ()
    await child.stop()
    assert await folders.paths("vae") == ()
