"""What every bench stands on: a gateway with its engine, and a client that goes past the gateway.

The engine is stock ComfyUI when COMFY_HOME is set (COMFY_PYTHON names its Python; COMFY_ARGS adds
flags, as --cpu), else the embedded one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

START_S = 120.0


def picture(side: int = 64, color: int = 0, prefix: str = "bench") -> dict[str, Any]:
    """Return EmptyImage -> SaveImage; another color is another picture."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": side, "height": side, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Stand:
    """A running gateway, and the ComfyUI behind it."""

    gateway: str
    comfy: str
    pid: int
    folder: Path


@contextlib.asynccontextmanager
async def running(engine_flags: str = "", **settings: str) -> AsyncIterator[Stand]:
    """Start the gateway as its users do, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        folder = Path(name)
        port, comfy_port = free_port(), free_port()
        environ = environment(folder, port, comfy_port, engine_flags, settings)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve"), env=environ, stdout=log, stderr=log
            )
            try:
                stand = Stand(
                    f"http://127.0.0.1:{port}",
                    f"http://127.0.0.1:{comfy_port}",
                    process.pid,
                    folder,
                )
                await _ready(stand, process, folder / "log")
                yield stand
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                await process.wait()


def environment(
    folder: Path, port: int, comfy_port: int, engine_flags: str, settings: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a gateway that keeps everything in one folder."""
    environ = dict(os.environ)
    environ.update(
        HOST="127.0.0.1",
        PORT=str(port),
        COMFYUI_PORT_HOST=str(comfy_port),
        STATE_DIR=str(folder / "state"),
        INPUT_DIR=str(folder / "input"),
        OUTPUT_DIR=str(folder / "output"),
        TEMP_DIR=str(folder / "temp"),
        CACHE_DIR=str(folder / "cache"),
        LOG_LEVEL="warning",
        ALLOW_PRIVATE_NETWORKS="127.0.0.0/8",
    )
    environ.update(settings)
    command = engine_command(engine_flags)
    if command:
        environ["CMD"] = command
    return environ


def engine_command(flags: str) -> str | None:
    """Return the CMD for flags of the engine; None where the default does."""
    folders = (
        "--listen ${DIRECT_ADDRESS} --port ${COMFYUI_PORT_HOST} --input-directory ${INPUT_DIR} "
        "--output-directory ${OUTPUT_DIR} --temp-directory ${TEMP_DIR}/.. "
        "--extra-model-paths-config ${STATE_DIR}/extra_model_paths.yaml"
    )
    arguments = os.environ.get("COMFY_ARGS", "")
    if os.environ.get("COMFY_HOME"):
        python = os.environ.get("COMFY_PYTHON", "python3")
        return f"{python} main.py {folders} {arguments} {flags}"
    if flags:
        return f"{sys.executable} -m gateway.embedded {folders} {flags}"
    return None


async def _ready(stand: Stand, process: asyncio.subprocess.Process, log: Path) -> None:
    async with aiohttp.ClientSession() as session:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{stand.gateway}/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise SystemExit("the gateway was not ready:\n" + log.read_text()[-3000:])


class Direct:
    """ComfyUI spoken to directly: queue over HTTP, wait on its WebSocket, fetch over /view."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._client_id = uuid.uuid4().hex
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._outputs: dict[str, list[dict[str, Any]]] = {}

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Direct]:
        """Open the WebSocket."""
        async with self._session.ws_connect(
            f"{self._url}/ws?clientId={self._client_id}", max_msg_size=0
        ) as socket:
            task = asyncio.create_task(self._listen(socket))
            try:
                yield self
            finally:
                task.cancel()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            frame = orjson.loads(message.data)
            prompt_id = (frame.get("data") or {}).get("prompt_id")
            if prompt_id not in self._waiting:
                continue
            if frame["type"] == "executed":
                self._outputs[prompt_id] += frame["data"]["output"].get("images", [])
            elif frame["type"] == "execution_success":
                self._waiting[prompt_id].set_result(None)

    async def run(self, workflow: dict[str, Any]) -> list[bytes]:
        """Run a graph and return its files."""
        prompt_id = str(uuid.uuid4())
        self._waiting[prompt_id] = asyncio.get_running_loop().create_future()
        self._outputs[prompt_id] = []
        body = {"prompt": workflow, "prompt_id": prompt_id, "client_id": self._client_id}
        async with self._session.post(f"{self._url}/prompt", json=body) as response:
            response.raise_for_status()
            await response.read()
        await self._waiting[prompt_id]
        del self._waiting[prompt_id]
        files = []
        for entry in self._outputs.pop(prompt_id):
            async with self._session.get(f"{self._url}/view", params=entry) as response:
                files.append(await response.read())
        return files


async def through(session: aiohttp.ClientSession, url: str, workflow: dict[str, Any]) -> Any:
    """Run a graph through the gateway and return the answer, parsed."""
    async with session.post(f"{url}/prompt", json={"prompt": workflow}) as response:
        raw = await response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {raw[:500]!r}")
    return orjson.loads(raw)


def engine_name() -> str:
    """Return which engine is measured."""
    return "stock ComfyUI" if os.environ.get("COMFY_HOME") else "the embedded engine"
