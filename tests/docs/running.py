"""A gateway as a process of its own, in front of the embedded engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from tests.ports import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class RunningGateway:
    """Where it listens, and the environment that its own commands run in."""

    url: str
    process: asyncio.subprocess.Process
    env: dict[str, str]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return an environment in which nothing of this machine's settings counts."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    folders = {
        name: str(folder / name.lower())
        for name in ("STATE_DIR", "MODEL_DIR", "CACHE_DIR", "CUSTOM_NODES_DIR")
    }
    return {**kept, **folders, "HOST": "127.0.0.1", "ENGINE": "embedded", **settings}


def is_ready(url: str) -> bool:
    """Whether a gateway runs jobs, asked from where no loop runs."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as failure:
        failure.close()
    except OSError:
        pass
    return False


@contextlib.asynccontextmanager
async def running_gateway(folder: Path, **settings: str) -> AsyncIterator[RunningGateway]:
    """Start a gateway, yield it when it is ready, and stop it."""
    ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(free_port())}
    env = environment(folder, **{**ports, **settings})
    url = f"http://127.0.0.1:{env['PORT']}"
    with (folder / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve"), cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        async with aiohttp.ClientSession() as session:
            await wait_until(
                lambda: _has_become_ready(session, url, process, folder / "gateway.log"),
                description="the gateway is ready",
                timeout=30,
            )
        yield RunningGateway(url, process, {**env, "GATEWAY_URL": url})
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)


async def _has_become_ready(
    session: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process, log: Path
) -> bool:
    assert process.returncode is None, log.read_text()
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with session.get(f"{url}/ready") as answer:
            return answer.status == 200
    return False


@contextlib.contextmanager
def stopped_engine(gateway: RunningGateway) -> Iterator[Callable[[], None]]:
    """Have ComfyUI stand still; yield what lets it go on, as the end does."""
    children = psutil.Process(gateway.process.pid).children(recursive=True)
    [engine] = [one for one in children if one.cmdline()[1:3] == ["-m", "gateway.embedded"]]
    engine.suspend()
    try:
        yield engine.resume
    finally:
        engine.resume()
