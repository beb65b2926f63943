"""The event loop while a large workflow of the canvas is converted: it serves others."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from tests.integration.test_loop import BLOCKED_S, TURNS, Loop, running, settings

__all__ = ["settings"]

NODES = 3000
SENDER = """
import sys, urllib.request
url, body = sys.argv[1:]
request = urllib.request.Request(url, open(body, "rb"), {"Content-Type": "application/json"})
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
    print(response.read().count(b"EmptyImage"))
"""


def canvas() -> dict[str, Any]:
    image = {
        "type": "EmptyImage",
        "title": "A",
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": []}],
        "widgets_values": [8, 8, 1, 0],
    }
    return {"nodes": [{"id": number, **image} for number in range(NODES)], "links": []}


async def blocks_of(settings: Settings, body: Path, log: pytest.LogCaptureFixture) -> list[Any]:
    """Return what blocked the loop in each turn, until a turn was free of it."""
    found: list[Any] = []
    async with running(settings) as url:
        asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
        while len(found) < TURNS and (not found or found[-1]):
            log.clear()
            sender = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", SENDER, f"{url}/convert", str(body)),
                stdout=asyncio.subprocess.PIPE,
            )
            told, _ = await asyncio.wait_for(sender.communicate(), 30)
            assert int(told) == NODES
            found.append([line for line in log.messages if " took " in line])
    return found


def test_no_large_canvas_blocks_the_loop(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = tmp_path / "canvas.json"
    body.write_text(json.dumps(canvas()))
    caplog.set_level(logging.WARNING, "asyncio")
    with asyncio.Runner(debug=True, loop_factory=Loop) as loop:
        found = loop.run(blocks_of(settings, body, caplog))
    assert found[-1] == [], found
