"""The event loop of a working gateway: nothing blocks it, however large what it carries."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.app import Gateway
from gateway.config import Settings
from tests.waiting import wait_until

BLOCKED_S = 0.1
#: A noisy machine may stop us for as long as a blocking call would: the best turn counts.
TURNS = 8
INPUT_BYTES = 20_000_000
SIDE = 4000
SENDER = """
import sys, urllib.request
url, body, answer = sys.argv[1:]
data = open(body, "rb").read()
request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
    open(answer, "wb").write(response.read())
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def large_bmp() -> bytes:
    """A picture of 20 MB that needs no encoder: a header, and noise."""
    width = 2500
    height = INPUT_BYTES // (width * 3)
    size = width * height * 3
    info = [(40, 4), (width, 4), (height, 4), (1, 2), (24, 2), (0, 4), (size, 4)]
    head = [(54 + size, 4), (0, 4), (54, 4), *info, (0, 16)]
    fields = b"".join(value.to_bytes(length, "little") for value, length in head)
    return b"BM" + fields + random.Random(1).randbytes(size)


def enlarged(turn: int) -> dict[str, Any]:
    """Read a large input, make a larger output; each turn is another, or a cache would answer."""
    size = {"width": SIDE, "height": SIDE - turn, "upscale_method": "bilinear", "crop": "disabled"}
    return {
        "1": {
            "class_type": "LoadImage",
            "inputs": {"image": base64.b64encode(large_bmp()).decode()},
        },
        "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], **size}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "out"}},
    }


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return Settings(
        host="127.0.0.1",
        port=0,
        engine="embedded",
        comfyui_port_host=free_port(),
        model_dir=tmp_path / "models",
        custom_nodes_dir=tmp_path / "custom_nodes",
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
    )


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """Serve in this process, on this loop; the engine is a child."""
    gateway = Gateway(settings)
    runner = web.AppRunner(gateway.application(), handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        await site.start()
        await wait_until(lambda: gateway.is_ready, description="the engine is ready", timeout=30)
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        gateway.shutdown.ask()
        await runner.cleanup()


async def post(url: str, body: Path, answer: Path) -> None:
    """Send a prompt from a program of its own, so that the loop does the gateway's work alone."""
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SENDER, f"{url}/prompt", str(body), str(answer))
    )
    assert await asyncio.wait_for(sender.wait(), 50) == 0


async def turn_of(url: str, folder: Path, turn: int) -> None:
    """Run one prompt; what the test itself does of any size is done in threads."""
    body, answer = folder / "body.json", folder / "answer.json"
    await asyncio.to_thread(lambda: body.write_text(json.dumps({"prompt": enlarged(turn)})))
    await post(url, body, answer)
    outputs = await asyncio.to_thread(lambda: json.loads(answer.read_bytes())["outputs"])
    assert (outputs[0]["width"], outputs[0]["height"]) == (SIDE, SIDE - turn)
    assert outputs[0]["size"] > INPUT_BYTES / 10


async def blocks_of(
    settings: Settings, folder: Path, log: pytest.LogCaptureFixture
) -> list[list[str]]:
    """Return what blocked the loop in each turn, until a turn was free of it."""
    asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
    found: list[list[str]] = []
    async with running(settings) as url:
        while len(found) < TURNS and (not found or found[-1]):
            log.clear()
            await turn_of(url, folder, len(found))
            found.append([line for line in log.messages if " took " in line])
    return found


@pytest.mark.timeout(180)
def test_no_large_picture_blocks_the_loop(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asyncio")
    with asyncio.Runner(debug=True) as loop:
        found = loop.run(blocks_of(settings, tmp_path, caplog))
    assert found[-1] == [], found


def test_a_call_that_blocks_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asyncio")

    async def block() -> None:
        asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
        end = time.perf_counter() + 2 * BLOCKED_S
        while time.perf_counter() < end:
            pass

    with asyncio.Runner(debug=True) as loop:
        loop.run(block())
    assert any(" took " in line for line in caplog.messages)
