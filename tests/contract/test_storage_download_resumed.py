"""Downloads that go on: after a failure, a cancel, a kill, a power cut and a full disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.schemas import BearerAuth
from gateway.storage import journal
from gateway.storage.download import discard
from gateway.storage.failures import EXPIRED
from tests.contract.downloading import (
    HALF,
    JOURNAL,
    LARGE,
    OTHER,
    PART,
    SMALL,
    STEM,
    Downloading,
    first_then,
    is_whole,
    when,
)
from tests.hosts import (
    Asked,
    Host,
    ranged,
    running,
    says,
)
from tests.waiting import wait_until

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


@pytest.fixture
def download(tmp_path: Path) -> Downloading:
    return Downloading(tmp_path / "partial")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


async def test_a_failure_leaves_what_the_next_run_goes_on_from(
    download: Downloading, host: Host
) -> None:
    cut = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops"))
    assert (await download.failed(cut)).reason == "the host answered 500"

    host.on("/x", ranged(SMALL))
    assert is_whole(await download(cut), SMALL)
    assert host.asked[-1].start == HALF


async def test_a_failure_leaves_nothing_that_no_run_could_go_on_with(
    download: Downloading, host: Host
) -> None:
    without_version = says("HTTP/1.1 200 OK", b"x", Content_Length=9)
    for answer in (says("HTTP/1.1 404 No"), without_version):
        await download.failed(host.on("/x", answer))

        assert list(download.folder.iterdir()) == []


async def test_a_cancel_leaves_what_the_next_run_goes_on_from(
    download: Downloading, host: Host
) -> None:
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


async def test_what_is_whole_is_asked_for_one_byte(download: Downloading, host: Host) -> None:
    url = host.on("/x", ranged(SMALL))
    await download(url)

    assert is_whole(await download(url), SMALL)
    assert (host.asked[1].start, host.asked[1].end) == (len(SMALL) - 1, len(SMALL))


async def test_what_is_whole_is_not_for_who_is_refused(download: Downloading, host: Host) -> None:
    await download(host.on("/x", ranged(SMALL)))
    refusing = host.on("/x", says("HTTP/1.1 401 No"))

    verdict = await download.failed(refusing, auth=BearerAuth(type="bearer", token="other"))

    assert verdict.is_refused
    assert "401" in verdict.reason


async def test_a_link_that_expires_between_two_runs(download: Downloading, host: Host) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops"))
    await download.failed(url)

    assert await download.failed(host.on("/x", says("HTTP/1.1 403 Expired"))) == EXPIRED


async def killed(url: str, folder: Path) -> None:
    """Kill a process once it has noted some of a download."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, url, str(folder))
    try:
        noted = folder / JOURNAL
        await wait_until(noted.exists, description="some is noted", timeout=30)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()


async def test_a_kill_costs_a_part_at_most(download: Downloading, host: Host) -> None:
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


async def resumed(download: Downloading, host: Host) -> int:
    """Return the byte that a new run asks from."""
    before = len(host.asked)
    assert is_whole(await download(host.on("/x", ranged(SMALL))), SMALL)
    return host.asked[before].start


@pytest.fixture
async def broken(download: Downloading, host: Host) -> Downloading:
    """Half of a file, and its journal."""
    await download.failed(host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops")))
    return download


async def test_after_a_power_cut_only_what_was_synced_counts(
    broken: Downloading, host: Host
) -> None:
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
    broken: Downloading, host: Host, changes: dict[str, Any]
) -> None:
    broken.tamper(**changes)

    assert await resumed(broken, host) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 200, b"\xff\xfe"])
async def test_a_journal_that_is_damaged_is_begun_again(
    broken: Downloading, host: Host, content: bytes
) -> None:
    (broken.folder / JOURNAL).write_bytes(content)

    assert await resumed(broken, host) == 0


async def test_a_part_that_is_gone_or_short_is_begun_again(broken: Downloading, host: Host) -> None:
    os.truncate(broken.folder / PART, HALF - 1)

    assert await resumed(broken, host) == 0


async def test_another_version_is_begun_again_by_the_next_run(
    broken: Downloading, host: Host
) -> None:
    other = OTHER[: 1 << 20]

    assert is_whole(await broken(host.on("/x", ranged(other, version='"2"'))), other)


async def test_no_url_stands_in_a_journal(download: Downloading, host: Host) -> None:
    url = host.on("/x", ranged(SMALL, cut=HALF), says("HTTP/1.1 500 Oops"))

    await download.failed(f"{url}?token=secret".replace("//", "//u:secret@"))

    assert "secret" not in (download.folder / JOURNAL).read_text()


async def test_discarding_leaves_nothing(broken: Downloading) -> None:
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
