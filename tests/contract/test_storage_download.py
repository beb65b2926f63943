"""Weights over real sockets: many connections, hosts that misbehave, kills and full disks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.schemas import Auth, BearerAuth
from gateway.storage import journal
from gateway.storage.download import RESERVE_BYTES, Arrival, Downloader, Order, discard
from gateway.storage.failures import EXPIRED, TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider, Timeouts
from gateway.storage.pace import Patience
from gateway.storage.provider import Stat
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
from tests.waiting import wait_until

_RANDOM = random.Random(7)
#: Large enough for several connections.
LARGE = _RANDOM.randbytes(24 << 20)
OTHER = LARGE[::-1]
SMALL = LARGE[: 1 << 20]
HALF = len(SMALL) // 2
STEM = "s" * 32
PART, JOURNAL = f"{STEM}.part", f"{STEM}.json"

CHILD = """
import asyncio, sys
from pathlib import Path
from gateway import errors
from gateway.storage.download import Downloader, Order
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from tests.hosts import Only

async def room(size):
    pass

async def main():
    url, folder = sys.argv[1:]
    http = HttpProvider(NetworkGuard(("*",)), proxies={})
    async with http.open():
        try:
            await Downloader(Only(http)).run(Order(
                url=url, folder=Path(folder), stem="s" * 32, reserve=room, tell=lambda *_: None,
            ))
        except errors.GatewayError as failure:
            print(failure.code, failure.message, flush=True)

asyncio.run(main())
"""


@dataclass
class Setup:
    """Downloads one URL as a fresh process would."""

    folder: Path
    reserved: list[int] = field(default_factory=list)
    told: list[tuple[int, int | None]] = field(default_factory=list)
    patience: Patience = field(
        default_factory=lambda: Patience(attempts=3, wait_initial=0.01, wait_max=0.05)
    )

    async def __call__(
        self,
        url: str,
        auth: BearerAuth | None = None,
        reserve: Callable[[int], Awaitable[None]] | None = None,
    ) -> Arrival:
        http = HttpProvider(
            NetworkGuard(("127.0.0.0/8",)), timeouts=Timeouts(connect=1, stall=0.5), proxies={}
        )
        order = self.order(url, auth, reserve)
        async with http.open():
            return await Downloader(Only(http), patience=self.patience).run(order)

    def order(
        self,
        url: str,
        auth: BearerAuth | None = None,
        reserve: Callable[[int], Awaitable[None]] | None = None,
    ) -> Order:
        return Order(
            url=url,
            auth=auth,
            folder=self.folder,
            stem=STEM,
            reserve=reserve or self.reserve,
            tell=lambda done, total: self.told.append((done, total)),
        )

    async def reserve(self, size: int) -> None:
        self.reserved.append(size)

    async def failed(self, url: str, **how: Any) -> Verdict:
        with pytest.raises(TransferFailed) as caught:
            await self(url, **how)
        return caught.value.verdict

    def journal(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / JOURNAL).read_text()))

    def tamper(self, **changes: Any) -> None:
        (self.folder / JOURNAL).write_text(json.dumps(self.journal() | changes))


@pytest.fixture
def download(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "partial")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


def is_whole(arrival: Arrival, body: bytes) -> bool:
    """Compare by hash: nobody wants to read the difference."""
    found = hashlib.sha256(arrival.path.read_bytes()).digest()
    return found == hashlib.sha256(body).digest() and arrival.size == len(body)


def when(host: Host, count: int) -> Callable[[], Awaitable[object]]:
    """Return what waits until so many questions have been asked."""
    return lambda: wait_until(lambda: len(host.asked) >= count, description="helpers come")


def first_then(first: Answer, others: Answer) -> Answer:
    """Answer who asks for all of it so, and who asks for a part otherwise."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (others if asked.start else first)(asked, writer)

    return answer


async def test_a_large_file_comes_over_several_connections(download: Setup, host: Host) -> None:
    url = host.on("/x", ranged(LARGE, wait=when(host, 5)))

    arrival = await download(url)

    assert is_whole(arrival, LARGE)
    assert arrival.head == LARGE[: 1 << 16]
    assert (arrival.version, arrival.sha256) == ('"1"', None)
    assert "range" not in host.asked[0].headers
    assert {asked.headers["if-range"] for asked in host.asked[1:]} == {'"1"'}
    assert len({asked.start for asked in host.asked}) == len(host.asked)
    assert download.reserved == [len(LARGE)]


async def test_what_is_told_only_grows(download: Setup, host: Host) -> None:
    await download(host.on("/x", ranged(LARGE, wait=when(host, 3))))

    assert download.told == sorted(download.told)
    assert download.told[-1] == (len(LARGE), len(LARGE))


async def test_a_small_file_comes_over_one_connection(download: Setup, host: Host) -> None:
    async def pause() -> None:
        await asyncio.sleep(0.3)

    assert is_whole(await download(host.on("/x", ranged(SMALL, wait=pause))), SMALL)
    assert len(host.asked) == 1


async def test_an_empty_file(download: Setup, host: Host) -> None:
    url = host.on("/x", says(OK, b"", ETag='"1"', Accept_Ranges="bytes"))

    assert is_whole(await download(url), b"")
    assert is_whole(await download(url), b"")


@pytest.mark.parametrize("headers", [{"Accept_Ranges": "none", "ETag": '"1"'}, {"ETag": 'W/"1"'}])
async def test_who_gives_no_parts_is_asked_once(
    download: Setup, host: Host, headers: dict[str, str]
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
async def test_the_first_connection_is_enough(download: Setup, host: Host, others: Answer) -> None:
    first = ranged(LARGE, wait=when(host, 4))
    url = host.on("/x", first_then(first, others))

    assert is_whole(await download(url), LARGE)
    assert sum("range" not in asked.headers for asked in host.asked) == 1


async def test_parts_that_break_off_go_on(download: Setup, host: Host) -> None:
    whole = ranged(LARGE, wait=when(host, 3))

    async def breaks(asked: Asked, writer: asyncio.StreamWriter) -> None:
        is_early = len(host.asked) < 12
        cut = asked.start + (1 << 20) if asked.start and is_early else None
        await (ranged(LARGE, cut=cut) if cut else whole)(asked, writer)

    assert is_whole(await download(host.on("/x", breaks)), LARGE)


async def test_a_broken_download_goes_on_where_it_broke(download: Setup, host: Host) -> None:
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
async def test_two_versions_are_never_stitched(download: Setup, host: Host, second: Answer) -> None:
    other = OTHER[: 1 << 20]
    url = host.on("/x", ranged(SMALL, cut=HALF), second, ranged(other, version='"2"'))

    assert is_whole(await download(url), other)


async def test_without_a_version_it_begins_again(download: Setup, host: Host) -> None:
    cut = says(OK, SMALL[:HALF], Content_Length=len(SMALL))
    other = OTHER[: 1 << 20]

    assert is_whole(await download(host.on("/x", cut, says(OK, other))), other)
    assert "range" not in host.asked[1].headers


async def test_a_failure_leaves_what_the_next_run_goes_on_from(download: Setup, host: Host) -> None:
    cut = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops"))
    assert (await download.failed(cut)).reason == "the host answered 500"

    host.on("/x", ranged(SMALL))
    assert is_whole(await download(cut), SMALL)
    assert host.asked[-1].start == HALF


async def test_a_cancel_leaves_what_the_next_run_goes_on_from(download: Setup, host: Host) -> None:
    never = asyncio.Event()
    task = asyncio.create_task(download(host.on("/x", ranged(SMALL, wait=never.wait))))
    await wait_until(lambda: host.asked, description="the host is asked")
    await wait_until(lambda: download.told and download.told[-1][0], description="bytes are here")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never.set()

    assert is_whole(await download(host.on("/x", ranged(SMALL))), SMALL)
    assert host.asked[-1].start == 65536


async def test_what_is_whole_is_asked_for_one_byte(download: Setup, host: Host) -> None:
    url = host.on("/x", ranged(SMALL))
    await download(url)

    assert is_whole(await download(url), SMALL)
    assert (host.asked[1].start, host.asked[1].end) == (len(SMALL) - 1, len(SMALL))


async def test_what_is_whole_is_not_for_who_is_refused(download: Setup, host: Host) -> None:
    await download(host.on("/x", ranged(SMALL)))
    refusing = host.on("/x", says("HTTP/1.1 401 No"))

    verdict = await download.failed(refusing, auth=BearerAuth(type="bearer", token="other"))

    assert verdict.is_refused
    assert "401" in verdict.reason


async def test_a_host_that_always_breaks_off_is_given_up(download: Setup, host: Host) -> None:
    verdict = await download.failed(host.on("/x", says(OK, SMALL[:9], Content_Length=99)))

    assert "broke off" in verdict.reason
    assert len(host.asked) == 3


async def test_bytes_past_the_end_are_refused(download: Setup, host: Host) -> None:
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


async def test_a_silent_host_is_given_up(download: Setup, host: Host) -> None:
    never = asyncio.Event()
    verdict = await download.failed(host.on("/x", ranged(SMALL, wait=never.wait)))
    never.set()

    assert verdict.is_silence


async def test_a_host_that_drips_is_as_good_as_silent(download: Setup, host: Host) -> None:
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


async def test_a_slow_host_is_not_given_up(download: Setup, host: Host) -> None:
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
    download: Setup, host: Host, auth: BearerAuth | None
) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 403 Expired"))

    verdict = await download.failed(url, auth=auth)

    assert verdict == EXPIRED
    assert "may have expired" in verdict.reason
    assert "fresh link" in str(verdict.hint)
    assert (download.folder / PART).stat().st_size == HALF


async def test_a_link_that_expires_between_two_runs(download: Setup, host: Host) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops"))
    await download.failed(url)

    assert await download.failed(host.on("/x", says("HTTP/1.1 403 Expired"))) == EXPIRED


async def test_an_unknown_length_reserves_in_steps(download: Setup, host: Host) -> None:
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


async def test_without_room_not_a_byte_is_written(download: Setup, host: Host) -> None:
    async def full(size: int) -> None:
        raise errors.ModelTooLarge(f"{size}")

    with pytest.raises(errors.ModelTooLarge, match=str(len(LARGE))):
        await download(host.on("/x", ranged(LARGE)), reserve=full)

    assert len(host.asked) == 1
    assert (download.folder / PART).stat().st_size == 0


async def killed(url: str, folder: Path) -> None:
    """Kill a process once it has noted some of a download."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, url, str(folder))
    try:
        noted = folder / JOURNAL
        await wait_until(noted.exists, description="some is noted", timeout=30)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()


async def test_a_kill_costs_a_part_at_most(download: Setup, host: Host) -> None:
    never = asyncio.Event()
    whole = ranged(LARGE)

    async def stops(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await ranged(LARGE, cut=12 << 20)(asked, writer)
        await never.wait()

    await killed(host.on("/x", first_then(stops, stops)), download.folder)
    never.set()
    asked_before = len(host.asked)

    assert is_whole(await download(host.on("/x", whole)), LARGE)
    again = host.asked[asked_before]
    assert again.headers["if-range"] == '"1"'
    assert again.start >= 4 << 20


async def resumed(download: Setup, host: Host) -> int:
    """Return the byte that a new run asks from."""
    before = len(host.asked)
    assert is_whole(await download(host.on("/x", ranged(SMALL))), SMALL)
    return host.asked[before].start


@pytest.fixture
async def broken(download: Setup, host: Host) -> Setup:
    """Half of a file, and its journal."""
    await download.failed(host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops")))
    return download


async def test_after_a_power_cut_only_what_was_synced_counts(broken: Setup, host: Host) -> None:
    assert broken.journal()["boot"] == journal.boot_id()
    broken.tamper(boot="another", synced=[[0, 1000]])

    assert await resumed(broken, host) == 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"url": "0" * 64},
        {"written": [[0, HALF + 1]]},
        {"written": [[0, 10], [5, 20]]},
        {"written": [[0]]},
        {"written": "all"},
        {"size": HALF - 1},
        {"boot": "another"},
    ],
)
async def test_a_journal_of_no_use_is_begun_again(
    broken: Setup, host: Host, changes: dict[str, Any]
) -> None:
    broken.tamper(**changes)

    assert await resumed(broken, host) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 200, b"\xff\xfe"])
async def test_a_journal_that_is_damaged_is_begun_again(
    broken: Setup, host: Host, content: bytes
) -> None:
    (broken.folder / JOURNAL).write_bytes(content)

    assert await resumed(broken, host) == 0


async def test_a_part_that_is_gone_or_short_is_begun_again(broken: Setup, host: Host) -> None:
    os.truncate(broken.folder / PART, HALF - 1)

    assert await resumed(broken, host) == 0


async def test_another_version_is_begun_again_by_the_next_run(broken: Setup, host: Host) -> None:
    other = OTHER[: 1 << 20]

    assert is_whole(await broken(host.on("/x", ranged(other, version='"2"'))), other)


async def test_no_url_stands_in_a_journal(download: Setup, host: Host) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops"))

    await download.failed(f"{url}?token=secret".replace("//", "//u:secret@"))

    assert "secret" not in (download.folder / JOURNAL).read_text()


async def test_discarding_leaves_nothing(broken: Setup) -> None:
    discard(broken.folder, STEM)
    discard(broken.folder, STEM)

    assert list(broken.folder.iterdir()) == []


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    mounting = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(mounting, capture_output=True, check=False).returncode == 0


async def test_a_full_disk_is_named(host: Host, tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("needs user namespaces to mount a small disk")
    script = 'mount -t tmpfs -o size=6m none "$2" && exec "$3" -c "$4" "$1" "$2"'
    url = host.on("/x", ranged(LARGE, wait=when(host, 3)))
    child = await asyncio.create_subprocess_exec(
        *("unshare", "-rm", "sh", "-c", script, "sh", url, str(tmp_path)),
        *(sys.executable, CHILD),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await child.communicate()

    assert told.decode().startswith("storage_full The disk is full: CACHE_DIR has no room left.")
    assert str(tmp_path) not in told.decode()


@pytest.mark.parametrize("seed", range(4))
async def test_a_host_of_many_moods(download: Setup, host: Host, seed: int) -> None:
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
            len(SMALL), version="1", filename="x.bin", sha256=hashlib.sha256(SMALL).hexdigest()
        )


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_faster_way_is_taken_where_there_is_one(
    host: Host, tmp_path: Path, is_open: bool
) -> None:
    url = host.on("/x", ranged(SMALL))
    setup = Setup(tmp_path)
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


async def test_what_is_here_already_is_gone_on_with(host: Host, tmp_path: Path) -> None:
    url = host.on("/x", ranged(SMALL))
    (tmp_path / PART).write_bytes(b"some")
    http = WholeHost(NetworkGuard(("127.0.0.0/8",)), proxies={})
    async with http.open():
        arrival = await Downloader(Only(http)).run(Setup(tmp_path).order(url))

    assert arrival.path.read_bytes() == SMALL
    assert host.asked
