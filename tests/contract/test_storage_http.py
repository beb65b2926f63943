"""Fetches over real sockets, from hosts that behave and hosts that do not."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import errors
from tests.contract.fetching import Fetching
from tests.hosts import (
    OK,
    Answer,
    Asked,
    Host,
    hang_up,
    partial,
    running,
    says,
    silence,
)

BODY = bytes(range(256)) * 4096  # 1 MiB
OTHER = bytes(reversed(BODY))
HALF = len(BODY) // 2


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


@pytest.fixture
def fetch(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "in")


async def test_a_file_with_a_length_and_one_without(fetch: Fetching, host: Host) -> None:
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:]))
    with_length = host.on("/a", says(OK, BODY))
    without = host.on(
        "/b", says(OK, chunked + b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked")
    )
    until_the_end = host.on("/c", says("HTTP/1.0 200 OK", BODY, Content_Length=None))

    assert [await fetch(url) for url in (with_length, without, until_the_end)] == [BODY] * 3
    assert host.asked[0].headers["accept-encoding"] == "identity"


async def test_a_broken_transfer_goes_on_where_it_broke(fetch: Fetching, host: Host) -> None:
    url = host.on("/x", partial(BODY, cut=HALF), partial(BODY))

    assert await fetch(url) == BODY
    assert [(a.headers.get("range"), a.headers.get("if-range")) for a in host.asked] == [
        (None, None),
        (f"bytes={HALF}-", '"1"'),
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(says(OK, OTHER, ETag='"2"'), id="a new version as a whole"),
        pytest.param(partial(OTHER, '"2"'), id="a part of a new version"),
        pytest.param(partial(OTHER, shift=1), id="another part than was asked for"),
        pytest.param(says("HTTP/1.1 416 No"), id="a range that is not there"),
    ],
)
async def test_two_versions_are_never_stitched(fetch: Fetching, host: Host, second: Answer) -> None:
    url = host.on("/x", partial(BODY, cut=HALF), second, says(OK, OTHER, ETag='"2"'))

    assert await fetch(url) == OTHER


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": 'W/"1"'},
        {"Last_Modified": "Sat, 21 Nov 2026 04:00:00 GMT", "Date": "Sat, 21 Nov 2026 04:00:30 GMT"},
        {"Content_Encoding": "x-other", "ETag": '"1"'},
    ],
)
async def test_without_a_strong_validator_it_begins_again(
    fetch: Fetching, host: Host, headers: dict[str, str]
) -> None:
    cut = says(OK, BODY[:HALF], **{"Content_Length": len(BODY), **headers})
    url = host.on("/x", cut, says(OK, OTHER))

    assert await fetch(url) == OTHER
    assert "range" not in host.asked[1].headers


async def test_an_old_date_is_validator_enough(fetch: Fetching, host: Host) -> None:
    dates = {
        "Last_Modified": "Sat, 21 Nov 2026 04:00:00 GMT",
        "Date": "Sat, 21 Nov 2026 05:00:00 GMT",
    }
    cut = says(OK, BODY[:HALF], **{"Content_Length": len(BODY), **dates})
    url = host.on("/x", cut, partial(BODY, None))

    assert await fetch(url) == BODY
    assert host.asked[1].headers["if-range"] == "Sat, 21 Nov 2026 04:00:00 GMT"


async def test_a_host_that_always_breaks_off_is_given_up(fetch: Fetching, host: Host) -> None:
    url = host.on("/x", says(OK, BODY[:HALF], Content_Length=len(BODY)))

    refusal = await fetch.refused(url)

    assert "broke off" in refusal.message
    assert refusal.details["fault"] == "host"
    assert len(host.asked) == 3


@pytest.mark.parametrize(
    "failing",
    [
        says("HTTP/1.1 500 Oops"),
        says("HTTP/1.1 503 Busy", Retry_After="0"),
        says("HTTP/1.1 429 Slow down", Retry_After="Sat, 21 Nov 2026 04:00:00 GMT"),
        says("HTTP/1.1 408 Timeout"),
        hang_up,
    ],
)
async def test_what_may_pass_is_tried_again(fetch: Fetching, host: Host, failing: Answer) -> None:
    url = host.on("/x", failing, failing, says(OK, BODY))

    assert await fetch(url) == BODY


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 451])
async def test_what_will_not_pass_is_told_at_once(fetch: Fetching, host: Host, status: int) -> None:
    url = host.on("/x", says(f"HTTP/1.1 {status} No", b"", ETag='"1"'))

    refusal = await fetch.refused(url)

    assert type(refusal) is errors.InputNotFetched
    assert f"the host answered {status}" in refusal.message
    assert refusal.details["fault"] == "url"
    assert len(host.asked) == 1


async def test_a_pause_that_the_host_asks_for_is_kept(fetch: Fetching, host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 429 Slow down", Retry_After="1"), says(OK, BODY))
    began = time.monotonic()

    await fetch(url)

    assert time.monotonic() - began >= 1


async def test_a_silent_host_is_given_up(fetch: Fetching, host: Host) -> None:
    async def stops(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await says(OK, BODY[:10], Content_Length=len(BODY))(asked, writer)
        await silence(asked, writer)

    for path, answer in (("/never", silence), ("/stops", stops)):
        began = time.monotonic()
        refusal = await fetch.refused(host.on(path, answer))

        assert "for too long" in refusal.message
        assert time.monotonic() - began < 5
    # Each silence costs the caller the whole timeout: one more try, and no third.
    assert len(host.asked) == 4


async def test_a_host_that_stops_once_is_forgiven(fetch: Fetching, host: Host) -> None:
    assert await fetch(host.on("/x", silence, says(OK, BODY))) == BODY


async def test_nobody_listens(fetch: Fetching, host: Host) -> None:
    free = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    port = free.sockets[0].getsockname()[1]
    free.close()
    await free.wait_closed()

    refusal = await fetch.refused(f"http://127.0.0.1:{port}/x")

    assert "no connection" in refusal.message


async def test_a_name_that_does_not_resolve(fetch: Fetching) -> None:
    refusal = await fetch.refused("http://no-such-host.invalid/x")

    assert refusal.details["reason"] in (
        "its host name does not resolve",
        "its host name could not be looked up just now",
    )


async def test_3_gb_are_refused_before_a_byte_is_read(fetch: Fetching, host: Host) -> None:
    async def large(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await says(OK, b"x", Content_Length=3 << 30)(asked, writer)
        await silence(asked, writer)

    refusal = await fetch.refused(host.on("/x", large))

    # Who waits for the second byte is told of the silence.
    assert (type(refusal), refusal.status) == (errors.InputTooLarge, 413)
    assert "3,072 MB" in refusal.message
    assert "MAX_INPUT_MB (10 MB)" in refusal.message
    assert len(host.asked) == 1


async def test_a_body_without_end_is_cut_at_the_limit(fetch: Fetching, host: Host) -> None:
    async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{OK}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(BODY), BODY))
            await writer.drain()

    refusal = await fetch.refused(host.on("/x", endless), limit=3 << 20)

    assert type(refusal) is errors.InputTooLarge
    assert len(host.asked) == 1


@pytest.mark.parametrize("length", [len(BODY) - 1, 5, 0])
async def test_a_body_longer_than_its_length_is_noticed(
    fetch: Fetching, host: Host, length: int
) -> None:
    refusal = await fetch.refused(host.on("/x", says(OK, BODY, Content_Length=length)))

    assert refusal.details["fault"] == "host"


@pytest.mark.parametrize("length", ["-5", "many", "5, 6"])
async def test_a_length_that_is_none_is_an_answer_that_is_none(
    fetch: Fetching, host: Host, length: str
) -> None:
    refusal = await fetch.refused(host.on("/x", says(OK, BODY, Content_Length=length)))

    assert "not valid HTTP" in refusal.message


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_told_is_asked_for_once(
    fetch: Fetching, host: Host, encoding: str
) -> None:
    url = host.on("/x", says(OK, b"\x1f\x8b weights", Content_Encoding=encoding))
    refusal = await fetch.refused(url)

    assert "is not what its Content-Encoding says" in refusal.message
    assert len(host.asked) == 1


async def test_a_body_compressed_unasked_is_unpacked_within_the_limit(
    fetch: Fetching, host: Host
) -> None:
    fine = host.on("/a", says(OK, gzip.compress(BODY), Content_Encoding="gzip"))
    bomb = host.on("/b", says(OK, gzip.compress(bytes(64 << 20)), Content_Encoding="gzip"))

    assert await fetch(fine) == BODY
    (fetch.folder / "x.bin").unlink()
    assert type(await fetch.refused(bomb)) is errors.InputTooLarge
