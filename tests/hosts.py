"""Hosts that answer exactly as a test writes it, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.storage.http import HttpProvider
from gateway.storage.provider import Provider
from tests.waiting import wait_until

OK = "HTTP/1.1 200 OK"


class Only:
    """Everything is fetched over http."""

    def __init__(self, http: HttpProvider) -> None:
        self._http = http

    def of(self, url: str) -> Provider:
        return self._http

    def check(self, url: str, location: str | None = None) -> None:
        self._http.check(url, location)


@dataclass
class Asked:
    target: str
    headers: dict[str, str]
    #: Whether the client has hung up.
    gone: Callable[[], bool]
    method: str = "GET"
    #: Reads what the client sends after its head.
    read: Callable[[int], Awaitable[bytes]] | None = None

    @property
    def start(self) -> int:
        return int(self.headers.get("range", "bytes=0-")[6:].partition("-")[0])

    @property
    def end(self) -> int | None:
        """What is asked for ends before this byte; None: where the file does."""
        last = self.headers.get("range", "bytes=0-")[6:].partition("-")[2]
        return int(last) + 1 if last else None

    async def body(self) -> bytes:
        assert self.read is not None
        return await self.read(int(self.headers["content-length"]))


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Host:
    """A server of bytes, exactly as a test writes them; one request for each connection."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def url(self, path: str = "/x", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def on(self, path: str, *answers: Answer) -> str:
        """Answer a path so, in turn; the last answer stays."""
        self.answers[path] = list(answers)
        return self.url(path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = raw.strip().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            method, target, _ = first.split()
            asked = Asked(target, headers, reader.at_eof, method, reader.readexactly)
            self.asked.append(asked)
            answers = self.answers[asked.target.partition("?")[0]]
            await (answers.pop(0) if len(answers) > 1 else answers[0])(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)


def says(head: str, body: bytes = b"", **headers: object) -> Answer:
    """Answer with these bytes and hang up; a length that is given is not checked."""
    lines = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{head}\r\n{text}\r\n".encode() + body)

    return answer


def partial(
    body: bytes, version: str | None = '"1"', cut: int | None = None, shift: int = 0
) -> Answer:
    """Answer a range of `body`, whatever If-Range says, up to `cut`."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        start = asked.start + shift
        where = f"bytes {start}-{len(body) - 1}/{len(body)}"
        status = "HTTP/1.1 206 Partial Content" if "range" in asked.headers else OK
        await says(
            status,
            body[start:cut],
            Content_Length=len(body) - start,
            Content_Range=where,
            ETag=version,
        )(asked, writer)

    return answer


Wait = Callable[[], Awaitable[object]]


def ranged(
    body: bytes, *, version: str = '"1"', cut: int | None = None, wait: Wait | None = None
) -> Answer:
    """Answer as a good host does, up to byte `cut`; what is after the first 64 KiB waits."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        is_part = "range" in asked.headers and asked.headers.get("if-range", version) == version
        start, end = (asked.start, asked.end or len(body)) if is_part else (0, len(body))
        where = f"bytes {start}-{end - 1}/{len(body)}" if is_part else None
        told = {"Content_Length": end - start, "Content_Range": where, "ETag": version}
        status = "HTTP/1.1 206 Partial Content" if is_part else OK
        stop = end if cut is None else max(start, min(end, cut))
        first = min(stop, start + 65536)
        await says(status, body[start:first], Accept_Ranges="bytes", **told)(asked, writer)
        if wait is not None:
            await wait()
        for at in range(first, stop, 1 << 20):
            writer.write(body[at : min(stop, at + (1 << 20))])
            await writer.drain()

    return answer


async def silence(asked: Asked, _: asyncio.StreamWriter) -> None:
    await wait_until(asked.gone, description="the client is tired of it")


async def hang_up(_: Asked, __: asyncio.StreamWriter) -> None:
    return


def redirect(target: str, status: int = 302) -> Answer:
    return says(f"HTTP/1.1 {status} Found", b"moved", Location=target)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Host]:
    """Hold a host that everyone has hung up on at the end."""
    found = Host()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await wait_until(lambda: not found.tasks, description="every client has hung up")
