"""One real gateway for many tests, a client that reads every answer, and a host of odd files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from PIL import Image

from tests.acceptance.faulty import Place
from tests.acceptance.shelves import Shelf, shelves
from tests.contract.providers.servers import Servers
from tests.docs.running import ROOT, environment, free_port, is_ready
from tests.receivers import Receiver, receiving
from tests.waiting import wait_until

_START_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back, read to its end."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def told(self) -> str:
        """The sentence and its hint: what a reader of the error sees."""
        return f"{self.json['error']} {self.json.get('hint', '')}"


def refused(answer: Answer, status: int, code: str, *says: str) -> dict[str, Any]:
    """Check a refusal, and that its sentence and hint name all of `says`; return it."""
    found = answer.json
    assert (answer.status, found["code"]) == (status, code), found
    for text in says:
        assert text in answer.told
    return found


@dataclass
class Gateway:
    """A gateway as a process of its own; no answer of it may show what only its log may hold."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        path: str = "/prompt",
        body: Any = None,
        *,
        method: str | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request: GET without a body, POST with one, unless `method` says."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        method = method or ("GET" if data is None else "POST")
        sent = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, self.url + path, data=data and io.BytesIO(data), headers=sent
            ) as reply,
        ):
            answer = Answer(reply.status, dict(reply.headers), await reply.read())
        assert b"Traceback" not in answer.raw
        assert str(ROOT).encode() not in answer.raw
        return answer


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Gateway]:
    """Start a gateway, yield it when it is ready, see that it still is, and stop it."""
    ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(free_port())}
    env = environment(folder, **{**ports, **settings})
    url = f"http://127.0.0.1:{env['PORT']}"
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-m", "gateway", "serve"),
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_ready(url, process, log)
        yield Gateway(url, process, folder)
        assert is_ready(url), log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while not is_ready(url):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return what starts one more gateway, with settings of its own."""

    def started(**settings: str) -> contextlib.AbstractContextManager[Gateway]:
        return serving(tmp_path_factory.mktemp("gateway"), **settings)

    return started


@pytest.fixture(scope="session")
def gateway(start: Callable[..., Any]) -> Iterator[Gateway]:
    """A gateway that may fetch from this machine, and takes bodies of up to 1 MB."""
    with start(ALLOW_PRIVATE_NETWORKS="127.0.0.0/8", MAX_BODY_SIZE_MB="1") as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where a gateway of a test's own leaves everything."""
    return Place(tmp_path)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks that takes them all."""
    async with receiving() as found:
        yield found


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    """A host that takes uploads at once."""
    async with shelves() as found:
        yield found


@pytest.fixture
def quiet_place(tmp_path: Path) -> Iterator[Place]:
    """A place whose gateways log no stack trace, whatever happens to them."""
    yield Place(tmp_path)
    log = (tmp_path / "gateway.log").read_text()
    assert "Traceback" not in log, log
    assert "RuntimeWarning" not in log, log


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a disk on a new folder; where that is not allowed, the test is skipped."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    with mounted(tmp_path / "small", "size=2m") as folder:
        yield folder


@pytest.fixture
def roomy_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB: what SQLite writes ahead of its file fits beside it."""
    with mounted(tmp_path / "roomy", "size=16m") as folder:
        yield folder


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of object stores, started one by one when a test first needs one."""
    found = Servers(tmp_path_factory.mktemp("servers"))
    yield found
    found.close()


def png(size: tuple[int, int] = (3, 2), color: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    """Return a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def _reply(
    body: bytes, *, status: str = "200 OK", length: int | None = None, more: str = ""
) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n"
    return f"{head}{more}Connection: close\r\n\r\n".encode() + body


#: path -> the bytes that the host answers with; None: it never answers.
REPLIES: dict[str, bytes | None] = {
    "/red.png": _reply(png()),
    "/missing.png": _reply(b"gone", status="404 Not Found"),
    "/closes.png": b"",
    "/hangs.png": None,
    "/metadata.png": _reply(
        b"", status="302 Found", more="Location: http://169.254.169.254/latest/meta-data/\r\n"
    ),
    "/moved.png": _reply(b"", status="302 Found", more="Location: /red.png\r\n"),
    "/circle.png": _reply(b"", status="302 Found", more="Location: /circle.png\r\n"),
    "/short.png": _reply(png(), length=10_000),
    "/long.png": _reply(png() + b"more", length=len(png())),
    "/huge.png": _reply(png(), length=3 * 1024**3),
    "/page.png": _reply(b"<!DOCTYPE html><html><body>Log in</body></html>"),
    "/empty.png": _reply(b""),
}


@pytest_asyncio.fixture
async def host() -> AsyncIterator[str]:
    """The address of a host that answers as REPLIES says."""

    open_writers: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            reply = REPLIES[head.split()[1].decode()]
            if reply is None:
                await reader.read()
            else:
                writer.write(reply)
                await writer.drain()
        writer.close()
        open_writers.discard(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_writers:
            writer.close()
        await wait_until(lambda: not open_writers, description="every answer has ended")
