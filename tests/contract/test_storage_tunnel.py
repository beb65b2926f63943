"""Where a caller names an S3 endpoint: never a way into the operator's network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.schemas import S3Auth
from gateway.storage.failures import MISMATCH, TransferFailed
from gateway.storage.guard import NetworkGuard
from gateway.storage.provider import Span
from gateway.storage.s3 import S3Provider

URL = "s3://bucket/key"
BODY = b"0123456789"
HEAD = 'ETag: "1"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n'
#: The one address that the operator allows; every other of the loopback network is private.
ALLOWED = "127.0.0.2"
GUARD = NetworkGuard((f"{ALLOWED}/32",))

Serve = Callable[..., Awaitable[tuple[str, list[str]]]]


def auth(endpoint: str) -> S3Auth:
    return S3Auth(type="s3", access_key_id="id", secret_access_key="planted", endpoint=endpoint)


def answer(
    status: str = "200 OK", body: bytes = BODY, more: str = "", length: int | None = None
) -> bytes:
    told = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {told}\r\n{HEAD}{more}\r\n".encode() + body


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve one answer to all, on an address: its URL, and the requests that came."""
    async with contextlib.AsyncExitStack() as stack:

        async def started(said: bytes, address: str = ALLOWED) -> tuple[str, list[str]]:
            asked: list[str] = []

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(EOFError, ConnectionError):
                    asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
                    writer.write(said)
                writer.close()

            server = await asyncio.start_server(handle, address, 0)
            stack.callback(server.close)
            return f"http://{address}:{server.sockets[0].getsockname()[1]}", asked

        yield started


@pytest.fixture
async def provider() -> AsyncIterator[S3Provider]:
    found = S3Provider(Settings(), GUARD)
    yield found
    await found.close()


async def read(provider: S3Provider, endpoint: str, span: Span | None = None) -> bytes:
    async with provider.read(URL, auth(endpoint), span or Span()) as reply:
        return b"".join([chunk async for chunk in reply.chunks()])


async def test_an_allowed_endpoint_is_read(provider: S3Provider, serve: Serve) -> None:
    endpoint, asked = await serve(answer())

    assert await read(provider, endpoint) == BODY
    assert asked[0].startswith("GET /bucket/key HTTP/1.1\r\n")
    assert "proxy" not in asked[0].lower()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "2130706433"]
)
async def test_an_endpoint_inside_is_refused_unasked(
    provider: S3Provider, serve: Serve, host: str
) -> None:
    endpoint, asked = await serve(answer(), "127.0.0.1")
    port = endpoint.rpartition(":")[2]
    with pytest.raises(TransferFailed, match="not on the public internet") as found:
        await read(provider, f"http://{host}:{port}")

    assert "ALLOW_PRIVATE_NETWORKS" in (found.value.verdict.hint or "")
    assert asked == []


async def test_a_redirect_inside_is_not_followed(provider: S3Provider, serve: Serve) -> None:
    inside, asked = await serve(answer(), "127.0.0.1")
    endpoint, asked_outside = await serve(
        answer("307 Temporary Redirect", b"", f"Location: {inside}/secret\r\n")
    )
    with pytest.raises(TransferFailed):
        await read(provider, endpoint)

    assert len(asked_outside) == 1
    assert asked == []


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://host", "host", "http://", "http://user:planted@host", "http://[", "http://h?q=1"],
)
async def test_an_endpoint_that_is_no_url(provider: S3Provider, endpoint: str) -> None:
    with pytest.raises(TransferFailed, match="not an http or https URL") as found:
        await read(provider, endpoint)

    assert "planted" not in f"{found.value.verdict}"


async def test_the_tunnel_is_for_the_gateway_alone(provider: S3Provider, serve: Serve) -> None:
    endpoint, asked = await serve(answer())
    await read(provider, endpoint)
    server = provider._tunnel._server
    assert server is not None
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {endpoint}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert (await reader.read()).startswith(b"HTTP/1.1 403")
    writer.close()
    assert len(asked) == 1


async def test_the_operator_s_proxy_is_used(
    provider: S3Provider, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, asked = await serve(answer(), "127.0.0.1")
    monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://user:password@"))
    monkeypatch.delenv("no_proxy", raising=False)

    assert await read(provider, f"http://{ALLOWED}:9") == BODY
    assert asked[0].startswith(f"GET http://{ALLOWED}:9/bucket/key HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==" in asked[0]


async def test_a_body_that_is_cut_is_told(provider: S3Provider, serve: Serve) -> None:
    endpoint, _ = await serve(answer(length=50))
    with pytest.raises(TransferFailed, match="broke off") as found:
        await read(provider, endpoint)

    assert found.value.verdict.retryable


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (answer(), '"1"'),  # the whole, though a part was asked for
        (answer("206 Partial Content", BODY, "Content-Range: bytes 0-9/12\r\n"), '"1"'),
        (answer("206 Partial Content", BODY, "Content-Range: bytes 2-11/12\r\n"), '"2"'),
    ],
)
async def test_other_bytes_than_were_asked_for(
    provider: S3Provider, serve: Serve, said: bytes, version: str
) -> None:
    endpoint, _ = await serve(said)
    with pytest.raises(TransferFailed) as found:
        await read(provider, endpoint, Span(2, 12, version))

    assert found.value.verdict == MISMATCH


async def test_nobody_listens(provider: S3Provider) -> None:
    with pytest.raises(TransferFailed) as found:
        await read(provider, f"http://{ALLOWED}:1")

    assert found.value.verdict.fault == "host"
    assert found.value.verdict.retryable


@pytest.mark.parametrize("is_tunnelled", [True, False])
@pytest.mark.parametrize("what", ["head", "body", "upload"])
async def test_a_cancelled_transfer_hangs_up(tmp_path: Path, what: str, is_tunnelled: bool) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if what == "body":
            writer.write(answer(length=1 << 20))
        begun.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        over.set()
        writer.close()

    server = await asyncio.start_server(handle, ALLOWED, 0)
    endpoint = f"http://{ALLOWED}:{server.sockets[0].getsockname()[1]}"
    own = Settings() if is_tunnelled else Settings(aws_endpoint_url=endpoint)
    provider = S3Provider(own, GUARD)
    (tmp_path / "local").write_bytes(BODY)
    if what == "upload":
        task = asyncio.ensure_future(
            provider.write(URL, auth(endpoint), tmp_path / "local", "image/png")
        )
    else:
        task = asyncio.ensure_future(read(provider, endpoint))
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(over.wait(), 5)
    await provider.close()
    server.close()


async def test_the_operator_s_own_endpoint_needs_no_leave(serve: Serve) -> None:
    endpoint, _ = await serve(answer(), "127.0.0.1")
    provider = S3Provider(Settings(aws_endpoint_url=endpoint), NetworkGuard())
    async with provider.read(URL, None) as reply:
        assert b"".join([chunk async for chunk in reply.chunks()]) == BODY
    await provider.close()
