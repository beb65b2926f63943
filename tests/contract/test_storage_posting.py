"""Bodies posted in pieces, to hosts that answer well and badly."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.storage import address
from gateway.storage.failures import CUT, TransferFailed
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.posting import Connections, Reply
from tests.hosts import OK, Asked, Host, hang_up, running, says, silence

TO_RECEIVERS = Connections(limit=0, are_kept=False, send_buffer=1 << 17)
PIECES = (b"a" * 100_000, b"", b"b" * 200_000)


@dataclass(frozen=True)
class Pieces:
    pieces: tuple[bytes, ...] = PIECES
    failure: OSError | None = None

    @property
    def length(self) -> int:
        return sum(map(len, self.pieces)) + (self.failure is not None)

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.failure is not None:
            raise self.failure


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[HttpProvider]:
    header = address.OperatorHeader("X-Operator", "secret", ("*",))
    guard = NetworkGuard(("127.0.0.0/8",))
    provider = HttpProvider(guard, header=header, proxies={}, connections=TO_RECEIVERS)
    async with provider.open():
        yield provider


async def test_it_arrives_whole(host: Host) -> None:
    heard: list[bytes] = []

    async def hear(asked: Asked, writer: asyncio.StreamWriter) -> None:
        heard.append(await asked.body())
        await says("HTTP/1.1 202 Yes", b"thanks")(asked, writer)

    url = host.on("/x", hear)
    async with opened() as provider:
        reply = await provider.send(f"{url}?a=b#c", Pieces(), {"X-Mine": "é".encode().hex()}, 5)

    [asked] = host.asked
    assert reply == Reply(202)
    assert heard == [b"".join(PIECES)]
    assert (asked.method, asked.target) == ("POST", "/x?a=b")
    assert asked.headers["content-length"] == "300000"
    assert asked.headers["x-mine"] == "c3a9"
    assert asked.headers["connection"] == "close"
    assert not asked.headers.keys() & {"x-operator", "transfer-encoding"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("7", 7),
        ("99999", 3600),
        ("Sat, 21 Nov 2026 04:01:30 GMT", 90),
        ("Sat, 21 Nov 2026 03:00:00 GMT", 0),
        ("soon", None),
        ("²", None),
    ],
)
async def test_what_it_is_asked_to_wait(host: Host, given: str, expected: float | None) -> None:
    date = "Sat, 21 Nov 2026 04:00:00 GMT"
    url = host.on("/x", says("HTTP/1.1 429 Busy", Retry_After=given, Date=date))
    async with opened() as provider:
        reply = await provider.send(url, Pieces((b"small",)), {}, 5)
    assert reply == Reply(429, expected)


async def test_a_redirect_is_an_answer(host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 307 Moved", Location="/y"))
    async with opened() as provider:
        assert await provider.send(url, Pieces((b"small",)), {}, 5) == Reply(307)
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "failure",
    [
        FileNotFoundError(errno.ENOENT, "gone"),
        OSError("changed"),
        TimeoutError(errno.ETIMEDOUT, ""),
    ],
)
async def test_a_body_that_cannot_be_read_is_not_the_host_s_fault(
    host: Host, failure: OSError
) -> None:
    async def listen(asked: Asked, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await asked.body()

    url = host.on("/x", listen)
    async with opened() as provider:
        with pytest.raises(type(failure)) as raised:
            await provider.send(url, Pieces(failure=failure), {}, 5)
    assert raised.value is failure


async def test_silence_and_a_connection_that_breaks_off(host: Host) -> None:
    async def hear(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asked.body()
        await silence(asked, writer)

    silent, broken = host.on("/silent", hear), host.on("/broken", hang_up)
    async with opened() as provider:
        with pytest.raises(TransferFailed) as slow:
            await provider.send(silent, Pieces(), {}, 0.2)
        with pytest.raises(TransferFailed) as cut:
            await provider.send(broken, Pieces((b"small",)), {}, 5)
        await provider.send(host.on("/x", says(OK)), Pieces((b"small",)), {}, 5)
    assert slow.value.verdict.is_silence
    assert cut.value.verdict == CUT
    # What broke off was heard, maybe: whether to call again is not decided here.
    assert [asked.target for asked in host.asked] == ["/silent", "/broken", "/x"]


def test_the_kernel_is_given_little_at_once() -> None:
    where = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    with TO_RECEIVERS._socket(where) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 << 17
