"""One fetch of many askers; cancels, kills and full disks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway import errors
from gateway.storage.fetcher import Fetcher, FetchRequest
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider, Timeouts
from gateway.storage.pace import Patience
from gateway.storage.transfer import Arrival
from tests.hosts import Only
from tests.listening import listening
from tests.waiting import wait_until

BODY = b"0123456789" * 400_000

CHILD = """
import asyncio, sys
from pathlib import Path
from gateway import errors
from gateway.storage.fetcher import Fetcher, FetchRequest
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from tests.hosts import Only

async def main():
    url, folder = sys.argv[1:]
    http = HttpProvider(NetworkGuard(("*",)), proxies={})
    async with http.open(), Fetcher(Only(http)).run() as fetcher:
        try:
            await fetcher.fetch(FetchRequest(
                url=url, folder=Path(folder), stem="x", limit_bytes=1 << 30,
                name=lambda path, arrival: "x.bin",
            ))
        except errors.GatewayError as failure:
            print(failure.code, failure.message, flush=True)

asyncio.run(main())
"""


class Host:
    """Sends the first half, and the rest when it may."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.hung_up = 0
        self.may_finish = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await response.prepare(request)
        try:
            await response.write(BODY[: len(BODY) // 2])
            await self.may_finish.wait()
            await response.write(BODY[len(BODY) // 2 :])
        except (ConnectionError, asyncio.CancelledError):
            self.hung_up += 1
            raise
        return response

    async def large(self, request: web.Request) -> web.StreamResponse:
        size = int(request.query["size"])
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        for _ in range(size // 65536):
            await response.write(bytes(65536))
        return response


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    found = Host()
    async with listening(web.get("/x", found.answer), web.get("/large", found.large)) as url:
        found.url = f"{url}/x"
        yield found
        found.may_finish.set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "in"


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Fetcher]:
    http = HttpProvider(NetworkGuard(("127.0.0.0/8",)), timeouts=Timeouts(stall=5), proxies={})
    patience = Patience(attempts=2, wait_initial=0.01)
    async with http.open(), Fetcher(Only(http), patience=patience).run() as fetcher:
        yield fetcher


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with running() as found:
        yield found


def request(host: Host, folder: Path, **how: Any) -> FetchRequest:
    return FetchRequest(
        **{
            "url": host.url,
            "folder": folder,
            "stem": "x",
            "limit_bytes": 1 << 30,
            "name": lambda path, arrival: "x.bin",
            **how,
        }
    )


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


async def test_a_cancelled_asker_does_not_cancel_the_others(
    fetcher: Fetcher, host: Host, folder: Path
) -> None:
    first, *others = [asyncio.create_task(fetcher.fetch(request(host, folder))) for _ in range(8)]
    await wait_until(lambda: host.asked, description="the host is asked")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    host.may_finish.set()

    found = await asyncio.gather(*others)

    assert {fetched.path for fetched in found} == {folder / "x.bin"}
    assert host.asked == 1
    assert (folder / "x.bin").read_bytes() == BODY
    assert files(folder) == ["x.bin"]


async def test_the_last_asker_gone_ends_the_fetch_and_a_new_one_begins_afresh(
    fetcher: Fetcher, host: Host, folder: Path
) -> None:
    askers = [asyncio.create_task(fetcher.fetch(request(host, folder))) for _ in range(3)]
    await wait_until(lambda: host.asked, description="the host is asked")
    for asker in askers:
        asker.cancel()
    await asyncio.gather(*askers, return_exceptions=True)

    fresh = asyncio.create_task(fetcher.fetch(request(host, folder)))
    await wait_until(lambda: host.hung_up == 1, description="the host is hung up on")
    host.may_finish.set()

    assert (await fresh).size == len(BODY)
    assert host.asked == 2
    assert files(folder) == ["x.bin"]


async def test_what_is_there_already_is_not_fetched(
    fetcher: Fetcher, host: Host, folder: Path
) -> None:
    fetched = await fetcher.fetch(request(host, folder, present=lambda: "there.bin"))

    assert (fetched.name, fetched.size) == ("there.bin", None)
    assert host.asked == 0


async def test_small_things_are_read(fetcher: Fetcher, host: Host) -> None:
    host.may_finish.set()

    assert await fetcher.read(host.url, limit_bytes=len(BODY)) == BODY
    with pytest.raises(errors.InputTooLarge, match=r"larger .* than the limit"):
        await fetcher.read(host.url, limit_bytes=len(BODY) - 1)


async def test_each_asker_gets_a_refusal_of_its_own(
    fetcher: Fetcher, host: Host, folder: Path
) -> None:
    def refuse(path: Path, arrival: Arrival) -> str:
        assert path.read_bytes() == BODY
        assert arrival.head == BODY[: len(arrival.head)]
        raise errors.InvalidInput("it is no picture")

    host.may_finish.set()
    asks = [fetcher.fetch(request(host, folder, name=refuse, location=str(n))) for n in range(3)]
    refusals = await asyncio.gather(*asks, return_exceptions=True)

    assert [refusal.location for refusal in refusals] == ["0", "1", "2"]  # type: ignore[union-attr]
    assert len({id(refusal) for refusal in refusals}) == 3
    assert files(folder) == []


async def test_a_stop_tells_the_askers(host: Host, folder: Path) -> None:
    async with running() as fetcher:
        asker = asyncio.create_task(fetcher.fetch(request(host, folder)))
        await wait_until(lambda: host.asked, description="the host is asked")

    with pytest.raises(errors.Draining):
        await asker
    assert files(folder) == []


async def test_a_large_file_is_never_held_whole(fetcher: Fetcher, host: Host, folder: Path) -> None:
    size = 48 << 20
    url = host.url.replace("/x", f"/large?size={size}")
    tracemalloc.start()
    try:
        fetched = await fetcher.fetch(request(host, folder, url=url))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert fetched.size == size
    assert peak < 12 << 20


async def test_a_kill_leaves_no_half_file_under_the_final_name(host: Host, folder: Path) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, host.url, str(folder))
    await wait_until(lambda: files(folder), description="bytes are on the disk", timeout=30)
    child.send_signal(signal.SIGKILL)
    await child.wait()

    assert [name.partition("-")[0] for name in files(folder)] == [".fetch"]


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    mounting = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(mounting, capture_output=True, check=False).returncode == 0


async def test_a_full_disk_is_named(host: Host, folder: Path) -> None:
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("needs user namespaces to mount a small disk")
    host.may_finish.set()
    script = 'mount -t tmpfs -o size=256k none "$2" && exec "$3" -c "$4" "$1" "$2"'
    child = await asyncio.create_subprocess_exec(
        *("unshare", "-rm", "sh", "-c", script, "sh", host.url, str(folder)),
        *(sys.executable, CHILD),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    told, _ = await child.communicate()

    assert told.decode() == "storage_full The disk is full: INPUT_DIR has no room left.\n"
