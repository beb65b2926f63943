"""Requests written byte by byte, as no client library would write them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from tests.acceptance.conftest import Gateway

_PATIENCE_S = 10.0


@contextlib.asynccontextmanager
async def connected(
    gateway: Gateway, raw: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send bytes and yield the connection; it is cut when the context is left."""
    port = urlsplit(gateway.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()


async def answered(gateway: Gateway, raw: bytes) -> bytes:
    """Send bytes, and return all that comes until the gateway hangs up."""
    async with asyncio.timeout(_PATIENCE_S), connected(gateway, raw) as (reader, _):
        return await reader.read()


def request(
    gateway: Gateway, line: str, *fields: str, body: Any = None, version: str = "1.1"
) -> bytes:
    """Return a request after which the gateway hangs up; what no ASCII has is sent as UTF-8."""
    data = b"" if body is None else json.dumps(body).encode()
    own = [f"{name}: {value}" for name, value in gateway.headers.items()]
    length = [f"Content-Length: {len(data)}"] if data else []
    lines = [f"{line} HTTP/{version}", "Host: gateway", "Connection: close", *own, *length, *fields]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + data
