"""A manifest, carried out by a real gateway around the start of its engine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web

from tests.acceptance.conftest import Gateway
from tests.docs.running import ROOT, environment, free_port
from tests.listening import listening
from tests.waiting import wait_until
from tests.weights import decoding, safetensors

WEIGHTS = safetensors(2048)


class Origin:
    """A host of weights that may be held back."""

    def __init__(self) -> None:
        self.url = ""
        self.may_answer = asyncio.Event()
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path.startswith("/held/"):
            await self.may_answer.wait()
        if request.path.startswith("/missing/"):
            return web.Response(status=404)
        return web.Response(body=WEIGHTS, headers={"ETag": '"1"'})


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    found = Origin()
    async with listening(web.get("/{folder}/{name}", found.answer)) as found.url:
        yield found
        found.may_answer.set()


def manifest(**models: list[dict[str, str]]) -> dict[str, str]:
    """Return the settings of a gateway with a manifest of these models."""
    return {
        "MANIFEST_JSON": json.dumps({"models": models}),
        "ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
    }


async def started(start: Callable[..., Any], settings: dict[str, str]) -> Any:
    """Return a gateway that is ready; our own server answers meanwhile."""
    context = start(**settings)
    return context, await asyncio.to_thread(context.__enter__)


async def test_models_are_there_when_comfyui_starts_and_others_come_later(
    start: Callable[..., Any], origin: Origin
) -> None:
    settings = manifest(
        before_start=[
            {"url": f"{origin.url}/now/a.safetensors", "local_path": "vae/first.safetensors"}
        ],
        after_start=[
            {"url": f"{origin.url}/held/b.safetensors", "type": "vae", "name": "b.safetensors"}
        ],
    )

    context, gateway = await started(start, settings)
    try:
        answer = await gateway.ask(body={"prompt": decoding("first.safetensors")})
        assert answer.status == 200, answer.told

        origin.may_answer.set()
        await wait_until(lambda: _lists(gateway, "b.safetensors"), description="the other came")
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def _lists(gateway: Gateway, name: str) -> bool:
    return name in (await gateway.ask("/models")).json["vae"]


def process_of(folder: Path, settings: dict[str, str]) -> subprocess.Popen[str]:
    ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(free_port())}
    return subprocess.Popen(
        (sys.executable, "-m", "gateway", "serve"),
        cwd=ROOT,
        env=environment(folder, **{**ports, **settings}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def test_what_cannot_be_fetched_stops_the_start(tmp_path: Path, origin: Origin) -> None:
    url = f"{origin.url}/missing/a.safetensors"
    settings = manifest(before_start=[{"url": url, "local_path": "vae/a.safetensors"}])

    process = process_of(tmp_path, settings)
    told, _ = await asyncio.to_thread(process.communicate, timeout=30)

    assert process.returncode == 1
    assert "404" in told
    assert "vae/a.safetensors" in told
    assert "ON_MANIFEST_ERROR" in told
    assert "Traceback" not in told


async def test_what_cannot_be_fetched_is_skipped_when_asked_for(
    start: Callable[..., Any], origin: Origin
) -> None:
    url = f"{origin.url}/missing/a.safetensors"
    settings = manifest(before_start=[{"url": url, "local_path": "vae/a.safetensors"}])

    context, gateway = await started(start, {**settings, "ON_MANIFEST_ERROR": "skip"})
    try:
        assert (await gateway.ask("/ready")).status == 200
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_it_listens_at_once_and_says_how_far_it_is(tmp_path: Path, origin: Origin) -> None:
    url = f"{origin.url}/held/a.safetensors"
    settings = manifest(before_start=[{"url": url, "local_path": "vae/a.safetensors"}])
    port = free_port()
    process = process_of(tmp_path, {**settings, "PORT": str(port)})

    async def detail() -> Any:
        try:
            async with session.get(f"http://127.0.0.1:{port}/ready") as reply:
                found = await reply.json()
        except aiohttp.ClientConnectionError:
            return None
        return found if "models: 1" in (found.get("detail") or "") else None

    try:
        async with aiohttp.ClientSession() as session:
            found = await wait_until(detail, description="it is fetching", timeout=20)
    finally:
        process.terminate()
        told, _ = await asyncio.to_thread(process.communicate, timeout=30)

    assert found["reason"] == "starting"
    assert process.returncode == 0, told


async def test_a_typo_names_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text("apt:\n  - ffmpeg\ncustom_node:\n  - https://example.com/a/b\n")

    process = process_of(tmp_path, {"MANIFEST": str(path)})
    told, _ = await asyncio.to_thread(process.communicate, timeout=30)

    assert process.returncode == 2
    assert "line 3, column 1" in told
    assert "custom_nodes" in told
