"""Engines as real child processes, and a client that keeps every frame it sees."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.ports import free_port

STARTED_WITHIN_SECONDS = {"embedded": 20, "stock": 50}
ANSWER_SECONDS = 20
MODEL = "model.safetensors"
SLOW_SIDE = 2500


@dataclass
class Running:
    """An engine that answers."""

    kind: str
    process: subprocess.Popen[bytes]
    base: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def wait_until(fact: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := fact():
            return found
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s: {what}")


def safetensors_bytes() -> bytes:
    """A whole file of weights, as small as one can be."""
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    header = json.dumps({"__metadata__": {"made": "for tests"}, "w": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


def start_process(kind: str, base: Path, *flags: str) -> Running:
    """Start an engine in its own base directory, without waiting for it."""
    for name in ("input", "output", "custom_nodes", "models/checkpoints", "models/loras"):
        (base / name).mkdir(parents=True, exist_ok=True)
    if kind == "embedded":
        command = [sys.executable, "-m", "gateway.embedded"]
    else:
        python = os.environ.get("COMFY_PYTHON", sys.executable)
        command = [python, f"{os.environ['COMFY_HOME']}/main.py", "--cpu"]
        command += ["--preview-method", "latent2rgb", "--database-url", "sqlite:///:memory:"]
    port, log = free_port(), base / "engine.log"
    command += ["--port", str(port), "--base-directory", str(base), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    return Running(kind, process, base, port, log)


def start_engine(kind: str, base: Path, *flags: str) -> Running:
    """Start an engine and wait until it answers; skips where there is no stock ComfyUI."""
    if kind == "stock" and "COMFY_HOME" not in os.environ:
        pytest.skip("COMFY_HOME is not set")
    engine = start_process(kind, base, *flags)
    wait_until(lambda: answers(engine), STARTED_WITHIN_SECONDS[kind], f"{kind} answers")
    return engine


def answers(engine: Running) -> bool:
    if engine.process.poll() is not None:
        pytest.fail(f"the engine exited at start:\n{engine.log.read_text()[-2000:]}")
    try:
        with urllib.request.urlopen(f"{engine.url}/prompt", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start embedded engines with flags; each is stopped at the end of the test."""
    started: list[Running] = []

    def start_one(*flags: str, wait: bool = True) -> Running:
        engine = start_process("embedded", tmp_path / f"engine-{len(started)}", *flags)
        started.append(engine)
        if wait:
            wait_until(lambda: answers(engine), STARTED_WITHIN_SECONDS["embedded"], "an answer")
        return engine

    yield start_one
    for engine in started:
        engine.process.kill()
        engine.process.wait()


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("stock", marks=pytest.mark.comfy)],
)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One engine for many tests: first the embedded one, then stock ComfyUI where there is one."""
    running = start_engine(request.param, tmp_path_factory.mktemp(request.param))
    checkpoints = running.base / "models/checkpoints"
    (checkpoints / MODEL).write_bytes(safetensors_bytes())
    (checkpoints / "cut.safetensors").write_bytes(safetensors_bytes()[:-4])
    yield running
    running.stop()


@dataclass
class Client:
    """One WebSocket and the HTTP session beside it."""

    session: aiohttp.ClientSession
    engine: Running
    client_id: str
    socket: aiohttp.ClientWebSocketResponse
    frames: list[Any] = field(default_factory=list)

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        async with self.session.get(f"{self.engine.url}{path}", params=query) as response:
            return response.status, await _body(response)

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.session.post(f"{self.engine.url}{path}", json=body) as response:
            return response.status, await _body(response)

    async def submit(self, graph: Any, **more: Any) -> tuple[int, Any]:
        fields = {"client_id": self.client_id, "prompt_id": str(uuid.uuid4()), **more}
        return await self.post("/prompt", {"prompt": graph, **fields})

    async def run(self, graph: Any, **more: Any) -> tuple[list[Any], dict[str, Any]]:
        """Queue a graph and wait for its last frame: its frames, and its entry in the history."""
        status, body = await self.submit(graph, **more)
        assert status == 200, body
        frames = await self.until_done(body["prompt_id"])
        return frames, await self.history(body["prompt_id"])

    async def history(self, prompt_id: str) -> dict[str, Any]:
        entry: dict[str, Any] = (await self.get(f"/history/{prompt_id}"))[1][prompt_id]
        return entry

    async def until_done(self, prompt_id: str) -> list[Any]:
        return await self.until(
            lambda frame: (
                frame.get("type") == "executing"
                and frame["data"].get("node") is None
                and frame["data"].get("prompt_id") == prompt_id
            )
        )

    async def until(self, is_last: Callable[[dict[str, Any]], bool]) -> list[Any]:
        """Every frame up to the one that is meant."""
        seen: list[Any] = []
        while not seen or not is_last(seen[-1]):
            seen.append(await self.next_frame())
        return seen

    async def next_frame(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.receive(), ANSWER_SECONDS)
        if message.type is aiohttp.WSMsgType.BINARY:
            event, kind = struct.unpack(">II", message.data[:8])
            frame = {"binary": {"event": event, "image_type": kind}, "bytes": message.data[8:]}
        elif message.type is aiohttp.WSMsgType.TEXT:
            frame = json.loads(message.data)
        else:
            raise ConnectionError(f"the engine closed the socket: {message.type}")
        self.frames.append(frame)
        return frame


async def _body(response: aiohttp.ClientResponse) -> Any:
    if response.content_type == "application/json":
        return await response.json()
    if response.content_type.startswith("text/"):
        return await response.text()
    return await response.read()


async def connect(session: aiohttp.ClientSession, engine: Running, client_id: str) -> Client:
    socket = await session.ws_connect(f"{engine.url}/ws", params={"clientId": client_id})
    return Client(session, engine, client_id, socket)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as open_session:
        yield open_session


@pytest.fixture
async def client(session: aiohttp.ClientSession, engine: Running) -> AsyncIterator[Client]:
    """A client of the shared engine, greeted already."""
    connected = await connect(session, engine, f"client-{uuid.uuid4()}")
    await connected.next_frame()
    yield connected
    await connected.socket.close()


Connect = Callable[[Running], Any]


@pytest.fixture
async def connected(session: aiohttp.ClientSession) -> AsyncIterator[Connect]:
    """Connect to an engine that the test started itself."""
    clients: list[Client] = []

    async def connect_to(engine: Running, client_id: str = "") -> Client:
        clients.append(await connect(session, engine, client_id or f"client-{uuid.uuid4()}"))
        await clients[-1].next_frame()
        return clients[-1]

    yield connect_to
    for client in clients:
        await client.socket.close()


def empty_image(color: int = 0, width: int = 32, height: int = 16, batch: int = 1) -> Any:
    inputs = {"width": width, "height": height, "batch_size": batch, "color": color}
    return {"class_type": "EmptyImage", "inputs": inputs}


def save(source: str, prefix: str = "out") -> Any:
    return {"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": prefix}}


def unique() -> str:
    return f"out-{uuid.uuid4().hex[:8]}"


def kinds(frames: list[Any]) -> list[str]:
    return [frame.get("type", "preview") for frame in frames]


def ran(frames: list[Any]) -> list[str]:
    return [f["data"]["node"] for f in frames if f.get("type") == "executing" and f["data"]["node"]]


def cached(frames: list[Any]) -> list[str]:
    return next(f["data"]["nodes"] for f in frames if f.get("type") == "execution_cached")


async def upload(client: Client, name: str, content: bytes, **fields: str) -> tuple[int, Any]:
    form = aiohttp.FormData(fields)
    form.add_field("image", content, filename=name)
    url = f"{client.engine.url}/upload/image"
    async with client.session.post(url, data=form) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.read()


def png(color: tuple[int, ...], size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(buffer, format="PNG")
    return buffer.getvalue()


def slow(color: int) -> dict[str, Any]:
    """Takes a while on every engine, and can be interrupted after each node."""
    graph: dict[str, Any] = {"0": empty_image(color), "9": save("8", unique())}
    for step in range(1, 9):
        # Up and down again: slow, yet only every second picture is large.
        side, method = (SLOW_SIDE, "lanczos") if step % 2 else (8, "nearest-exact")
        size = {"width": side, "height": side, "upscale_method": method, "crop": "disabled"}
        inputs = {"image": [str(step - 1), 0], **size}
        graph[str(step)] = {"class_type": "ImageScale", "inputs": inputs}
    return graph
