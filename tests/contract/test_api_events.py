"""Event streams over real sockets that are slow, silent or old-fashioned."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from gateway.api import events as api
from gateway.api.parts import PARTS, Parts
from gateway.jobs import events as bus
from gateway.jobs.events import Events
from gateway.jobs.job import Job, State
from gateway.jobs.store import open_store
from tests.waiting import wait_until

JOB = Job(id="a", request={}, graph={"1": {}}, fingerprint="f", created_at=1.0)
RUNNING = replace(JOB, state=State.RUNNING)
DONE = replace(JOB, state=State.SUCCEEDED)
#: As little as the system gives, so that a socket is full soon.
SMALL = 4096


@dataclass
class Stand:
    events: Events
    port: int


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    """Serve the route alone, from sockets that hold little."""
    store, events = await open_store(f"sqlite:{tmp_path / 'jobs.db'}"), Events()
    await store.put(JOB, durable=False)
    app = web.Application()
    app[PARTS] = cast(Parts, SimpleNamespace(store=store, events=events))
    app.router.add_get("/jobs/{id}/events", api.get_events)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=5)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    await web.SockSite(runner, listener).start()
    try:
        yield Stand(events, listener.getsockname()[1])
    finally:
        events.end(keep=())
        await runner.cleanup()
        await store.close()


@contextlib.asynccontextmanager
async def connected(
    stand: Stand, query: str = "", version: str = "1.1"
) -> AsyncIterator[asyncio.StreamReader]:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", stand.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=SMALL)
    writer.write(f"GET /jobs/a/events{query} HTTP/{version}\r\nHost: test\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()


async def until_told(reader: asyncio.StreamReader, word: bytes) -> bytes:
    """Read until a word came."""
    found = b""
    async with asyncio.timeout(10):
        while word not in found:
            data = await reader.read(SMALL)
            assert data, found
            found += data
    return found


async def test_a_reader_that_does_not_read_loses_no_state_and_no_output(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(bus, "PREVIEW_EVERY_S", 0.0)
    async with connected(stand, "?previews=1") as slow, connected(stand) as quick:
        await until_told(slow, b"queued")
        await until_told(quick, b"queued")
        quick_heard = asyncio.create_task(until_told(quick, b"succeeded"))
        stand.events.changed(RUNNING)
        for step in range(1, 501):
            told = {"value": step / 1000, "nodes_done": 0, "nodes_total": 1}
            stand.events.publish("a", "progress", told)
            stand.events.publish_preview("a", "1", "image/png", bytes(50_000))
            if step % 50 == 0:
                entry = {"index": step // 50, "filename": f"{step}.png"}
                stand.events.publish_output("a", entry, key=step)
            await asyncio.sleep(0)
        stand.events.changed(replace(JOB, attempt=2))
        stand.events.changed(replace(RUNNING, attempt=2))
        stand.events.changed(replace(DONE, attempt=2))
        everything = await quick_heard
        assert everything.count(b"event: progress") > 400
        heard = await until_told(slow, b'"succeeded"')
        assert (await until_told(slow, b"0\r\n\r\n"))[-5:] == b"0\r\n\r\n"
    assert heard.count(b"event: progress") < 200
    assert heard.count(b"event: preview") < 50
    for number in range(1, 11):
        assert b'"url":"/jobs/a/outputs/%d"' % number in heard
    for told_state in (b'"running","attempt":1', b'"queued","attempt":2', b'"running","attempt":2'):
        assert told_state in heard


async def test_silence_is_broken_by_comments(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "KEEP_ALIVE_S", 0.05)
    async with connected(stand) as reader:
        await until_told(reader, b"queued")
        for _ in range(2):
            assert b"event" not in await until_told(reader, b": keep-alive\n\n")
        stand.events.changed(DONE)
        await until_told(reader, b"0\r\n\r\n")


async def test_a_client_of_http_1_0_is_served_without_chunks(stand: Stand) -> None:
    async with connected(stand, version="1.0") as reader:
        await until_told(reader, b"queued")
        stand.events.changed(DONE)
        found = await until_told(reader, b"succeeded")
        assert found.endswith(b"\n\n")
        assert await reader.read() == b""


async def test_the_end_of_all_streams_waits_for_nobody_who_does_not_read(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_LAST_WORDS_S", 0.1)
    monkeypatch.setattr(bus, "PREVIEW_EVERY_S", 0.0)
    async with connected(stand, "?previews=1") as slow:
        await until_told(slow, b"queued")
        for _ in range(20):
            stand.events.publish_preview("a", "1", "image/png", bytes(500_000))
            await asyncio.sleep(0)
        stand.events.end(keep=())
        found: Any = stand.events
        await wait_until(lambda: not found._readers, description="the stream was given up")


async def test_a_stream_of_no_job_leaves_nothing_behind(stand: Stand) -> None:
    found: Any = stand.events
    async with connected(stand) as reader:
        await until_told(reader, b"queued")
    await wait_until(lambda: not found._channels, description="the reader was noticed to be gone")
    assert not found._readers
