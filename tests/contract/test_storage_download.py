"""Weights over real sockets: many connections, and hosts that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway import errors
from gateway.schemas import Auth, BearerAuth
from gateway.storage.download import RESERVE_BYTES, Downloader
from gateway.storage.failures import EXPIRED
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.pace import Patience
from gateway.storage.provider import Stat
from tests.contract.downloading import (
    HALF,
    LARGE,
    OTHER,
    PART,
    SMALL,
    Downloading,
    first_then,
    is_whole,
    when,
)
from tests.hosts import (
    OK,
    Answer,
    Asked,
    Host,
    Only,
    hang_up,
    partial,
    ranged,
    running,
    says,
    silence,
)


@pytest.fixture
def download(tmp_path: Path) -> Downloading:
    return Downloading(tmp_path / "partial")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


async def test_a_large_file_comes_over_several_connections(
    download: Downloading, host: Host
) -> None:
    url = host.on("/x", ranged(LARGE, wait=when(host, 5)))

    arrival = await download(url)

    assert is_whole(arrival, LARGE)
    assert arrival.head == LARGE[: 1 << 16]
    assert (arrival.version, arrival.sha256) == ('"1"', None)
    assert "range" not in host.asked[0].headers
    assert {asked.headers["if-range"] for asked in host.asked[1:]} == {'"1"'}
    assert len({asked.start for asked in host.asked}) == len(host.asked)
    assert download.reserved == [len(LARGE)]


async def test_what_is_told_only_grows(download: Downloading, host: Host) -> None:
    await download(host.on("/x", ranged(LARGE, wait=when(host, 3))))

    assert download.told == sorted(download.told)
    assert download.told[-1] == (len(LARGE), len(LARGE))


async def test_a_small_file_comes_over_one_connection(download: Downloading, host: Host) -> None:
    async def pause() -> None:
        await asyncio.sleep(0.3)

    assert is_whole(await download(host.on("/x", ranged(SMALL, wait=pause))), SMALL)
    assert len(host.asked) == 1


async def test_an_empty_file(download: Downloading, host: Host) -> None:
    url = host.on("/x", says(OK, b"", ETag='"1"', Accept_Ranges="bytes"))

    assert is_whole(await download(url), b"")
    assert is_whole(await download(url), b"")


@pytest.mark.parametrize("headers", [{"Accept_Ranges": "none", "ETag": '"1"'}, {"ETag": 'W/"1"'}])
async def test_who_gives_no_parts_is_asked_once(
    download: Downloading, host: Host, headers: dict[str, str]
) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        length = len(LARGE)
        await says(OK, LARGE[:HALF], **{**headers, "Content_Length": length})(asked, writer)
        await asyncio.sleep(0.3)
        writer.write(LARGE[HALF:])

    assert is_whole(await download(host.on("/x", answer)), LARGE)
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(says(OK, LARGE, ETag='"1"'), id="ignores Range"),
        pytest.param(says("HTTP/1.1 416 No"), id="416"),
        pytest.param(says("HTTP/1.1 429 Too many", Retry_After="0"), id="429"),
        pytest.param(says("HTTP/1.1 403 No"), id="403"),
        pytest.param(partial(LARGE, shift=1), id="another part than was asked for"),
        pytest.param(ranged(OTHER, version='"2"'), id="changed meanwhile"),
        pytest.param(partial(OTHER, '"2"'), id="a part of what changed meanwhile"),
        pytest.param(hang_up, id="hangs up"),
        pytest.param(silence, id="silent"),
    ],
)
async def test_the_first_connection_is_enough(
    download: Downloading, host: Host, others: Answer
) -> None:
    first = ranged(LARGE, wait=when(host, 4))
    url = host.on("/x", first_then(first, others))

    assert is_whole(await download(url), LARGE)
    assert sum("range" not in asked.headers for asked in host.asked) == 1


async def test_parts_that_break_off_go_on(download: Downloading, host: Host) -> None:
    whole = ranged(LARGE, wait=when(host, 3))

    async def breaks(asked: Asked, writer: asyncio.StreamWriter) -> None:
        is_early = len(host.asked) < 12
        cut = asked.start + (1 << 20) if asked.start and is_early else None
        await (ranged(LARGE, cut=cut) if cut else whole)(asked, writer)

    assert is_whole(await download(host.on("/x", breaks)), LARGE)


async def test_a_broken_download_goes_on_where_it_broke(download: Downloading, host: Host) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), ranged(SMALL))

    assert is_whole(await download(url), SMALL)
    assert [(a.headers.get("range"), a.headers.get("if-range")) for a in host.asked] == [
        (None, None),
        (f"bytes={HALF}-", '"1"'),
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(ranged(OTHER[: 1 << 20], version='"2"'), id="the new file as a whole"),
        pytest.param(partial(OTHER[: 1 << 20], '"2"'), id="a part of the new file"),
        pytest.param(partial(OTHER[: 1 << 20], shift=1), id="another part"),
        pytest.param(says("HTTP/1.1 416 No"), id="416"),
    ],
)
async def test_two_versions_are_never_stitched(
    download: Downloading, host: Host, second: Answer
) -> None:
    other = OTHER[: 1 << 20]
    url = host.on("/x", ranged(SMALL, cut=HALF), second, ranged(other, version='"2"'))

    assert is_whole(await download(url), other)


async def test_without_a_version_it_begins_again(download: Downloading, host: Host) -> None:
    cut = says(OK, SMALL[:HALF], Content_Length=len(SMALL))
    other = OTHER[: 1 << 20]

    assert is_whole(await download(host.on("/x", cut, says(OK, other))), other)
    assert "range" not in host.asked[1].headers


async def test_a_host_that_always_breaks_off_is_given_up(download: Downloading, host: Host) -> None:
    verdict = await download.failed(host.on("/x", says(OK, SMALL[:9], Content_Length=99)))

    assert "broke off" in verdict.reason
    assert len(host.asked) == 3


async def test_bytes_past_the_end_are_refused(download: Downloading, host: Host) -> None:
    verdict = await download.failed(host.on("/x", says(OK, SMALL, Content_Length=99)))
    assert verdict.fault == "host"

    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMALL), SMALL)
    where = f"bytes {HALF}-{len(SMALL) - 1}/{len(SMALL)}"
    more = says(
        "HTTP/1.1 206 Partial Content",
        chunked,
        Content_Length=None,
        Transfer_Encoding="chunked",
        Content_Range=where,
        ETag='"1"',
    )
    verdict = await download.failed(host.on("/y", ranged(SMALL, cut=HALF), more))
    assert "more bytes" in verdict.reason


async def test_a_silent_host_is_given_up(download: Downloading, host: Host) -> None:
    never = asyncio.Event()
    verdict = await download.failed(host.on("/x", ranged(SMALL, wait=never.wait)))
    never.set()

    assert verdict.is_silence


async def test_a_host_that_drips_is_as_good_as_silent(download: Downloading, host: Host) -> None:
    async def drips(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await says(OK, b"", Content_Length=len(SMALL))(asked, writer)
        while not asked.gone():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    download.patience = Patience(
        attempts=2, wait_initial=0.01, least_bytes=1000, within_s=0.4, silences=1
    )

    verdict = await download.failed(host.on("/x", drips))

    assert "too slowly" in verdict.reason
    assert len(host.asked) == 2


async def test_a_slow_host_is_not_given_up(download: Downloading, host: Host) -> None:
    async def walks(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await says(OK, b"", Content_Length=20_000)(asked, writer)
        for _ in range(20):
            writer.write(bytes(1000))
            await writer.drain()
            await asyncio.sleep(0.05)

    download.patience = Patience(attempts=1, least_bytes=1000, within_s=0.4)

    assert (await download(host.on("/x", walks))).size == 20_000


@pytest.mark.parametrize("auth", [None, BearerAuth(type="bearer", token="secret")])
async def test_a_link_that_expires_midway(
    download: Downloading, host: Host, auth: BearerAuth | None
) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 403 Expired"))

    verdict = await download.failed(url, auth=auth)

    assert verdict == EXPIRED
    assert "may have expired" in verdict.reason
    assert "fresh link" in str(verdict.hint)
    assert (download.folder / PART).stat().st_size == HALF


async def test_an_unknown_length_reserves_in_steps(download: Downloading, host: Host) -> None:
    size = RESERVE_BYTES + (1 << 20)

    async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(f'{OK}\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n'.encode())
        for _ in range(size >> 20):
            writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    arrival = await download(host.on("/x", endless))

    assert arrival.size == size
    assert download.reserved == [RESERVE_BYTES, 2 * RESERVE_BYTES]
    assert download.told[0] == (0, None)


async def test_without_room_not_a_byte_is_written(download: Downloading, host: Host) -> None:
    async def full(size: int) -> None:
        raise errors.ModelTooLarge(f"{size}")

    with pytest.raises(errors.ModelTooLarge, match=str(len(LARGE))):
        await download(host.on("/x", ranged(LARGE)), reserve=full)

    assert len(host.asked) == 1
    assert list(download.folder.iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
async def test_a_host_of_many_moods(download: Downloading, host: Host, seed: int) -> None:
    chance = random.Random(seed)

    async def moody(asked: Asked, writer: asyncio.StreamWriter) -> None:
        mood = chance.random()
        if mood < 0.1:
            return
        if mood < 0.2:
            await says("HTTP/1.1 503 Busy", Retry_After="0")(asked, writer)
            return
        cut = asked.start + chance.randrange(4 << 20)
        await ranged(LARGE, cut=cut if mood < 0.8 else None)(asked, writer)

    download.patience = Patience(attempts=100, wait_initial=0.001, wait_max=0.002)

    assert is_whole(await download(host.on("/x", moody)), LARGE)


class WholeHost(HttpProvider):
    """A host with a way of its own, as Hugging Face has for what lies in Xet storage."""

    is_open = True

    async def fetch_whole(
        self,
        url: str,
        auth: Auth | None,
        path: Path,
        reserve: Callable[[int], Awaitable[None]],
        tell: Callable[[int], None],
    ) -> Stat | None:
        if not self.is_open:
            return None
        await reserve(len(SMALL))
        path.write_bytes(SMALL)
        tell(len(SMALL))
        return Stat(
            len(SMALL), version='"1"', filename="x.bin", sha256=hashlib.sha256(SMALL).hexdigest()
        )


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_faster_way_is_taken_where_there_is_one(
    host: Host, tmp_path: Path, is_open: bool
) -> None:
    url = host.on("/x", ranged(SMALL))
    setup = Downloading(tmp_path)
    order = setup.order(url)
    http = WholeHost(NetworkGuard(("127.0.0.0/8",)), proxies={})
    http.is_open = is_open
    async with http.open():
        arrival = await Downloader(Only(http)).run(order)

    assert arrival.path.read_bytes() == SMALL
    assert (arrival.size, arrival.head) == (len(SMALL), SMALL[:65536])
    assert setup.reserved == [len(SMALL)]
    assert setup.told[-1] == (len(SMALL), len(SMALL))
    assert bool(host.asked) is not is_open


async def test_what_came_the_faster_way_is_only_confirmed_after_a_kill(
    host: Host, tmp_path: Path
) -> None:
    url = host.on("/x", ranged(SMALL))
    http = WholeHost(NetworkGuard(("127.0.0.0/8",)), proxies={})
    async with http.open():
        for _ in range(2):
            arrival = await Downloader(Only(http)).run(Downloading(tmp_path).order(url))
            assert arrival.path.read_bytes() == SMALL

    assert [(asked.start, asked.end) for asked in host.asked] == [(len(SMALL) - 1, len(SMALL))]


async def test_what_is_here_already_is_gone_on_with(host: Host, tmp_path: Path) -> None:
    url = host.on("/x", ranged(SMALL))
    (tmp_path / PART).write_bytes(b"some")
    http = WholeHost(NetworkGuard(("127.0.0.0/8",)), proxies={})
    async with http.open():
        arrival = await Downloader(Only(http)).run(Downloading(tmp_path).order(url))

    assert arrival.path.read_bytes() == SMALL
    assert host.asked
