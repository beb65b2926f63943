"""The cache against real hosts, real files and a real downloader."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import orjson
import pytest

from gateway import errors
from gateway.models import names
from gateway.models.cache import Cache, Wanted
from gateway.schemas import BearerAuth
from gateway.storage.claim import claim
from gateway.storage.download import Arrival, Order
from gateway.storage.providers import Providers
from tests.cache_stand import Host, caching, get, hosting, settings
from tests.waiting import wait_until
from tests.weights import safetensors

KB = 1 << 10
MB = 1 << 20
BODY = safetensors(64 * KB)
RIGHT = BearerAuth(type="bearer", token="right-s3cret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


async def test_a_file_is_fetched_once_verified_and_named(host: Host, tmp_path: Path) -> None:
    url = host.on("/a/model.safetensors", BODY)
    async with caching(tmp_path) as place:
        found = await get(place, url)
        again = await get(place, url, "other")

    assert found == again
    assert found.name == names.stem(url) + ".safetensors"
    assert found.path == tmp_path / found.name
    assert found.path.read_bytes() == BODY
    assert (found.size, found.inode) == (len(BODY), found.path.stat().st_ino)
    assert host.whole("/a/model.safetensors") == 1
    told = place.told("file_downloaded")
    assert [one.pop("duration") < 5 for one in told] == [True]
    assert told == [{"url": url, "local_path": str(found.path), "size": len(BODY)}]
    assert not list((tmp_path / ".partial").iterdir())


async def test_a_hundred_askers_share_one_fetch(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    async with caching(tmp_path) as place:
        found = await asyncio.gather(*(get(place, url, f"job{at}") for at in range(100)))

    assert len(set(found)) == 1
    assert host.whole("/m.safetensors") == 1


async def test_the_name_comes_from_the_answer_when_the_url_has_none(
    host: Host, tmp_path: Path
) -> None:
    disposition = {"Content-Disposition": 'attachment; filename="dream shaper.safetensors"'}
    named = host.on("/api/download/models/128713", BODY, headers=disposition)
    typed = host.on("/config", b"a: 1\n", headers={"Content-Type": "application/json"})
    sniffed = host.on("/bytes", BODY, headers={"Content-Type": "application/octet-stream"})
    async with caching(tmp_path) as place:
        suffixes = [(await get(place, url)).path.suffix for url in (named, typed, sniffed)]

    assert suffixes == [".safetensors", ".json", ".safetensors"]


async def test_a_record_shows_no_secret(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY) + "?token=s3cret-in-query"
    with_user = url.replace("http://", "http://user:s3cret-password@")
    async with caching(tmp_path) as place:
        await get(place, with_user, auth=RIGHT)
        [entry] = await place.cache.entries()
        [download] = place.cache.downloads()
        [event] = place.told("file_downloaded")

    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size < KB]
    texts = [path.read_text(errors="replace") for path in written]
    assert len(texts) >= 1
    assert "s3cret" not in "".join([*texts, str(entry), str(download), str(event)])
    assert entry.needs_credentials
    assert entry.name.startswith(names.stem(url))


async def test_a_file_that_vanished_or_was_cut_is_fetched_again(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    async with caching(tmp_path) as place:
        found = await get(place, url)
        found.path.unlink()
        assert (await get(place, url)).path.read_bytes() == BODY
        os.truncate(found.path, 100)
        assert (await get(place, url)).path.read_bytes() == BODY
        assert len(place.told("file_downloaded")) == 3


async def test_a_cancelled_download_goes_on_where_it_stopped(host: Host, tmp_path: Path) -> None:
    body = safetensors(24 * MB)
    url = host.on("/m.safetensors", body, held_at=20 * MB)
    async with caching(tmp_path, 30 * MB) as place:
        task = asyncio.create_task(get(place, url))
        journal = tmp_path / ".partial" / f"{names.stem(url)}.json"
        await wait_until(
            lambda: journal.exists() and place.cache.downloads()[0].bytes > 18 * MB,
            description="most of it is here",
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(
            lambda: "goes on" in (place.cache.downloads()[0].error or ""), description="it ended"
        )
    host.served["/m.safetensors"].gate.set()
    before = host.sent
    async with caching(tmp_path, 30 * MB) as place:
        assert (await get(place, url)).path.read_bytes() == body
    assert host.sent - before < 12 * MB


async def test_nothing_is_promised_of_what_cannot_go_on(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY, held_at=KB, tells_size=False)
    async with caching(tmp_path) as place:
        task = asyncio.create_task(get(place, url))
        await wait_until(lambda: host.sent >= KB, description="some is on its way")
        task.cancel()
        await asyncio.wait({task})
        await wait_until(
            lambda: "begins again" in (place.cache.downloads()[0].error or ""),
            description="it ended",
        )


async def test_what_a_killed_program_left_beside_a_part_is_removed(
    host: Host, tmp_path: Path
) -> None:
    left, others = (tmp_path / ".partial" / f"{letter * 32}.part.xet" for letter in "ab")
    for folder in (left, others):
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "m.safetensors").write_bytes(BODY)
    async with claim(tmp_path / ".partial", "b" * 32), caching(tmp_path):
        assert not left.exists()
        assert others.exists()


async def test_a_host_that_fails_is_told_to_each_with_its_place(host: Host, tmp_path: Path) -> None:
    async with caching(tmp_path) as place:
        found = await asyncio.gather(
            get(place, f"{host.base}/missing.safetensors", "a", location="one"),
            get(place, f"{host.base}/missing.safetensors", "b", location="two"),
            return_exceptions=True,
        )
        assert not list(tmp_path.glob(".pins/*.tmp"))
    assert [type(one) for one in found] == [errors.ModelNotFetched] * 2
    assert [one.location for one in found if isinstance(one, errors.GatewayError)] == ["one", "two"]
    assert "answered 404" in str(found[0])


async def test_a_cache_folder_that_cannot_be_written_says_so(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    url = host.on("/m.safetensors", BODY)
    async with caching(tmp_path / "file") as place:
        with pytest.raises(errors.ModelNotFetched, match="cannot be written") as caught:
            await get(place, url)
    assert "CACHE_DIR" in (caught.value.hint or "")


class FullDisk:
    """A downloader on whose disk there is no room for all of it."""

    async def run(self, order: Order) -> Arrival:
        await order.reserve(MB)
        (order.folder / f"{order.stem}.part").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_fails_the_job_and_not_the_process(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    async with Providers.open(settings(tmp_path)) as providers:
        full = Cache.open(settings(tmp_path), FullDisk(), providers, lambda *_: None)
        async with full as cache:
            for _ in range(2):
                with pytest.raises(errors.StorageFull, match="The disk is full"):
                    await cache.get(Wanted(url), "job")
                assert not list((tmp_path / ".partial").iterdir())
    async with caching(tmp_path) as place:
        assert (await get(place, url)).size == len(BODY)


async def test_what_is_there_costs_one_look_and_no_more(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(KB, at)) for at in range(3)]
    async with caching(tmp_path, MB, auth_recheck_s=60) as place:
        wants = [Wanted(url, RIGHT) for url in urls]
        found = await place.cache.get_all(wants, "a")
        with Calls() as calls:
            again = await place.cache.get_all(wants, "b")

    assert again == found
    assert calls.names == ["stat"] * len(urls)


class Calls:
    """Notes what this thread asks of the system: files, threads, connections."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: object, event: str, what: object) -> None:
        modules = ("posix", "_io", "io", "_thread", "_socket", "_posixsubprocess")
        name = getattr(what, "__name__", "")
        if event == "c_call" and getattr(what, "__module__", None) in modules and name != "fspath":
            self.names.append(name)


async def test_the_last_use_is_written_down_soon(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    async with caching(tmp_path) as place:
        found = await get(place, url)
        await place.cache.entries()
        os.utime(found.path, (1000, 1000))
        await get(place, url)
        await wait_until(lambda: found.path.stat().st_mtime > 1000, description="it is written")


# Looking and deleting


async def test_entries_and_deletion(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    async with caching(tmp_path) as place:
        found = await get(place, url)
        place.cache.note_link(names.stem(url), Path("/models/vae/x.safetensors"))
        with pytest.raises(errors.CacheEntryInUse):
            await place.cache.delete(found.name)
        [entry] = await place.cache.entries()
        place.cache.release("job")
        with pytest.raises(errors.CacheEntryNotFound):
            await place.cache.delete("../../etc/passwd")
    assert (entry.name, entry.url, entry.size) == (found.name, url, len(BODY))
    assert (entry.pins, entry.links) == (["job"], ["/models/vae/x.safetensors"])
    assert entry.last_used.endswith("Z")

    async with caching(tmp_path) as place:
        [entry] = await place.cache.entries()
        assert (entry.pins, entry.links) == ([], ["/models/vae/x.safetensors"])
        await place.cache.delete(found.name)
        assert not place.files()
        assert not list((tmp_path / ".records").iterdir())
        deleted = {"local_path": str(found.path), "size": len(BODY)}
        assert place.events == [("file_deleted", deleted)]


async def test_what_is_being_fetched_cannot_be_deleted(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY, held_at=1000)
    async with caching(tmp_path) as place:
        task = asyncio.create_task(get(place, url))
        await wait_until(lambda: host.sent, description="bytes come")
        with pytest.raises(errors.CacheEntryInUse):
            await place.cache.delete(f"{names.stem(url)}.safetensors")
        host.served["/m.safetensors"].gate.set()
        await task


async def test_a_download_is_shown_as_it_goes(host: Host, tmp_path: Path) -> None:
    body = safetensors(8 * MB)
    url = host.on("/m.safetensors", body, held_at=4 * MB, pause=0.005)
    async with caching(tmp_path) as place:
        task = asyncio.create_task(get(place, url))

        def halfway() -> bool:
            return bool(place.cache.downloads()) and place.cache.downloads()[0].bytes > 2 * MB

        await wait_until(halfway, description="more than a quarter is here")
        [running] = place.cache.downloads()
        host.served["/m.safetensors"].gate.set()
        await task
        [finished] = place.cache.downloads()

    assert running.url == url
    assert (running.state, running.total) == ("fetching", len(body))
    assert running.rate > 0
    assert running.eta_s is not None
    assert (finished.state, finished.bytes, finished.eta_s) == ("present", len(body), None)
    assert finished.filename == f"{names.stem(url)}.safetensors"
    orjson.dumps(vars(finished))


async def test_closing_gives_up_what_is_on_its_way(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY, held_at=1000)
    async with caching(tmp_path) as place:
        task = asyncio.create_task(get(place, url))
        await wait_until(lambda: host.sent, description="bytes come")
    with pytest.raises(errors.Draining):
        await task
