"""The event loop of a working gateway: nothing blocks it, however large what it carries."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway.app import Gateway
from gateway.config import Settings
from tests.integration.large_picture import INPUT_BYTES
from tests.ports import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
BLOCKED_S = 0.1
#: A thread that the loop waits for may itself be kept waiting: the best turn counts.
TURNS = 8
SIDE = 3000


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock stands while its thread waits for a core that others use."""

    def __init__(self) -> None:
        super().__init__()
        # Where the kernel does not say, the clock goes as any other.
        path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._waits = path.open("rb", buffering=0) if path.exists() else None

    def time(self) -> float:
        if self._waits is None:
            return super().time()
        _, waited_ns, _ = os.pread(self._waits.fileno(), 100, 0).split()
        return super().time() - int(waited_ns) / 1e9

    def close(self) -> None:
        super().close()
        if self._waits is not None:
            self._waits.close()


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


async def turn_of(url: str, turn: int) -> None:
    """Run one prompt; each turn asks for another picture, or a cache would answer."""
    sender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.large_picture"),
        *(f"{url}/prompt", str(SIDE), str(SIDE - turn)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await asyncio.wait_for(sender.communicate(), 50)
    assert sender.returncode == 0
    output = json.loads(told)
    assert (output["width"], output["height"]) == (SIDE, SIDE - turn)
    assert output["size"] > INPUT_BYTES / 10


async def blocks_of(settings: Settings, log: pytest.LogCaptureFixture) -> list[list[str]]:
    """Return what blocked the loop in each turn, until a turn was free of it."""
    asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
    found: list[list[str]] = []
    async with running(settings) as url:
        while len(found) < TURNS and (not found or found[-1]):
            log.clear()
            await turn_of(url, len(found))
            found.append([line for line in log.messages if " took " in line])
    return found


@pytest.mark.timeout(180)
def test_no_large_picture_blocks_the_loop(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asyncio")
    with asyncio.Runner(debug=True, loop_factory=Loop) as loop:
        found = loop.run(blocks_of(settings, caplog))
    assert found[-1] == [], found


def compute() -> None:
    end = time.thread_time() + 2 * BLOCKED_S
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("block", [compute, lambda: time.sleep(2 * BLOCKED_S)])
def test_a_call_that_blocks_is_noticed(
    block: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asyncio")

    async def turn() -> None:
        asyncio.get_running_loop().slow_callback_duration = BLOCKED_S
        block()

    with asyncio.Runner(debug=True, loop_factory=Loop) as loop:
        loop.run(turn())
    assert any(" took " in line for line in caplog.messages)
