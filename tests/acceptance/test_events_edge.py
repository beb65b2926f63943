"""Readers of events that ask oddly, and readers that leave, by the hundred."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.faulty import picture
from tests.acceptance.plain import answered, connected, request
from tests.waiting import wait_until

STAY, LEAVE = 20, 180


@pytest.fixture(scope="module")
def slow(start: Callable[..., Any]) -> Iterator[Gateway]:
    """A gateway whose engine takes its time, and that logs no failure."""
    engine = f"{sys.executable} -m gateway.embedded --port ${{COMFYUI_PORT_HOST}} --slow 30"
    folders = "--input-directory ${INPUT_DIR} --output-directory ${OUTPUT_DIR}"
    with start(CMD=f"{engine} {folders}", COMFY_QUEUE_DEPTH="1", DRAIN_TIMEOUT_S="0") as found:
        yield found
        log = (found.folder / "gateway.log").read_text()
    assert '"level":"error"' not in log, log


@pytest.fixture
async def done(gateway: Gateway) -> str:
    """The address of the events of a job that is over."""
    answer = await gateway.ask(body={"prompt": picture(), "id": str(uuid.uuid4())})
    assert answer.status == 200
    return f"/jobs/{answer.json['id']}/events"


def ids(raw: bytes) -> list[int]:
    lines = raw.decode().split("\n")
    return [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]


# A job that is over


@pytest.mark.parametrize(
    "last_id",
    [
        *("", "-1", "0", "-0", "+5", "1.5", "0x10", "null", "abc", "5,5", "١٢", "NaN"),
        *("9" * 18, "9" * 19, "9" * 5000, "a\tb"),
    ],
    ids=lambda text: text[:20],
)
async def test_who_heard_something_else_last_hears_all(
    gateway: Gateway, done: str, last_id: str
) -> None:
    for asked in (
        request(gateway, f"GET {done}", f"Last-Event-ID: {last_id}"),
        request(gateway, f"GET {done}?last_event_id={quote(last_id)}"),
    ):
        raw = await answered(gateway, asked)
        assert raw.startswith(b"HTTP/1.1 200"), raw
        found = ids(raw)
        assert found == sorted(set(found))
        assert raw.count(b"event: output") == raw.count(b"event: state") == 1
        assert b'data: {"state":"succeeded","attempt":1}\n\n' in raw


async def test_who_heard_the_end_is_told_so(gateway: Gateway, done: str) -> None:
    last = ids((await gateway.ask(done)).raw)[-1]
    for heard, status in ((f" {last} ", 204), (f"{last:019}", 200), (last + 1, 200)):
        answer = await gateway.ask(done, headers={"Last-Event-ID": str(heard)})
        assert answer.status == status
    assert (await gateway.ask(f"{done}?last_event_id={last}")).status == 204
    # The header is a browser's own, of the events it has heard since.
    both = await gateway.ask(f"{done}?last_event_id={last}", headers={"Last-Event-ID": "1"})
    assert ids(both.raw)[-1] == last


@pytest.mark.parametrize("value", ["", "maybe", "yes", "2", "%00", "x" * 3000])
async def test_previews_are_wanted_or_not(gateway: Gateway, done: str, value: str) -> None:
    answer = await gateway.ask(f"{done}?previews={value}")
    assert refused(answer, 422, "invalid_request", "true or false")["location"] == "previews"


@pytest.mark.parametrize("accept", ["application/json", "image/png", "text/event-stream;q=0", "*"])
async def test_events_are_events_whatever_is_accepted(
    gateway: Gateway, done: str, accept: str
) -> None:
    answer = await gateway.ask(done, headers={"Accept": accept, "Accept-Encoding": "gzip"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert ids(answer.raw)


async def test_an_old_client_gets_the_events_unpacked(gateway: Gateway, done: str) -> None:
    raw = await answered(gateway, request(gateway, f"GET {done}", version="1.0"))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert b"chunked" not in head
    assert body.startswith(b": events\n\n")
    assert body.endswith(b'"attempt":1}\n\n')
    gone = await answered(gateway, request(gateway, "GET /jobs/none/events", version="1.0"))
    assert b" 404 " in gone
    assert gone.endswith(b'"code":"job_not_found"}')


@pytest.mark.parametrize(
    "fields",
    [
        ("Range: bytes=0-5",),
        ("Expect: 100-continue",),
        ("Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        ("Content-Type: nonsense", "Cookie: a", "Last-Event-ID: a", "Last-Event-ID: b"),
    ],
)
async def test_fields_that_mean_nothing_here(
    gateway: Gateway, done: str, fields: tuple[str, ...]
) -> None:
    raw = await answered(gateway, request(gateway, f"GET {done}", *fields, body={"a": 1}))
    assert b"HTTP/1.1 200" in raw
    assert raw.endswith(b"\r\n0\r\n\r\n")
    assert ids(raw)


async def test_the_next_question_on_a_connection_is_answered(gateway: Gateway, done: str) -> None:
    first = request(gateway, f"GET {done}").replace(b"Connection: close\r\n", b"")
    raw = await answered(gateway, first + request(gateway, "GET /live"))
    assert raw.count(b"HTTP/1.1 200") == 2
    assert raw.endswith(b'"status":"alive"}')


# A job that runs


async def running(found: Gateway) -> str:
    """The address of the events of a job that runs, and goes on for long."""
    body = {"prompt": picture(), "id": str(uuid.uuid4())}
    assert (await found.ask(body=body, headers={"Prefer": "respond-async"})).status == 202

    async def runs() -> bool:
        return bool((await found.ask(f"/jobs/{body['id']}")).json["state"] == "running")

    await wait_until(runs, description="the job runs")
    return f"/jobs/{body['id']}/events"


async def readers(found: Gateway) -> float:
    lines = (await found.ask("/metrics")).raw.decode().split("\n")
    [line] = [one for one in lines if one.startswith("comfy_gateway_sse_readers ")]
    return float(line.split()[1])


async def test_readers_come_and_go_and_leave_nothing_behind(slow: Gateway) -> None:
    """Some leave before the answer, some within it, some stay until the job is cancelled."""
    path = await running(slow)
    asked = request(slow, f"GET {path}?previews=true")
    chance = random.Random(4)

    async def stay() -> bytes:
        async with connected(slow, asked) as (reader, _), asyncio.timeout(20):
            return await reader.read()

    async def leave(number: int) -> None:
        raw = asked[: number % len(asked)] if number % 2 else asked
        async with connected(slow, raw) as (reader, _):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.random() / 2):
                    await reader.read()

    staying = [asyncio.create_task(stay()) for _ in range(STAY)]
    await asyncio.gather(*(leave(number) for number in range(LEAVE)))
    await wait_until(lambda: _is(slow, STAY), description="the others have left")
    cancelled = await slow.ask(path.replace("/events", "/cancel"), method="POST")
    heard = await asyncio.gather(*staying)

    assert cancelled.status == 202
    assert all(b'data: {"state":"cancelled"' in raw for raw in heard)
    assert all(raw.endswith(b"\r\n0\r\n\r\n") for raw in heard)
    await wait_until(lambda: _is(slow, 0), description="nobody reads")


async def _is(found: Gateway, count: int) -> bool:
    return await readers(found) == count


async def test_who_asks_wrongly_is_no_reader(slow: Gateway) -> None:
    path = await running(slow)
    async with aiohttp.ClientSession() as session:
        for asked in (f"{path}?previews=maybe", "/jobs/none/events"):
            async with session.get(slow.url + asked) as answer:
                assert answer.status in (404, 422)
    assert await readers(slow) == 0
    await slow.ask(path.replace("/events", "/cancel"), method="POST")


async def test_who_heard_more_than_was_said_hears_how_it_stands(slow: Gateway) -> None:
    path = await running(slow)
    for last_id in ("9" * 18, "-1"):
        asked = request(slow, f"GET {path}", f"Last-Event-ID: {last_id}")
        async with connected(slow, asked) as (reader, _), asyncio.timeout(10):
            told = await reader.readuntil(b'"state":"running"')
            assert told.startswith(b"HTTP/1.1 200")
    assert (await slow.ask(path.replace("/events", ""), method="DELETE")).status == 409
    await slow.ask(path.replace("/events", "/cancel"), method="POST")
    await wait_until(lambda: _is(slow, 0), description="nobody reads")
