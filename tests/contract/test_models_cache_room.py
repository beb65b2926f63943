"""Room in the cache: the limit, who waits for it, and what makes place for what."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.models import names
from gateway.models.cache import Cache, Wanted
from gateway.models.layout import Layout
from gateway.storage.claim import claim, claims
from gateway.storage.download import Arrival, Downloader, Order
from gateway.storage.providers import Providers
from tests.cache_stand import Host, arrived, caching, get, hosting, model_bytes, settings
from tests.waiting import wait_until
from tests.weights import safetensors

KB = 1 << 10
MB = 1 << 20
BODY = safetensors(64 * KB)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


async def test_least_recently_used_by_a_job_goes_first_also_after_a_restart(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(4)]
    async with caching(tmp_path, 3 * MB) as place:
        for url in urls[:3]:
            await get(place, url)
        await get(place, urls[0])
        place.cache.release("job")
    async with caching(tmp_path, 3 * MB) as place:
        order = [entry.name for entry in await place.cache.entries()]
        await get(place, urls[3])
        [gone] = place.told("file_deleted")

    assert [name[:32] for name in order] == [names.stem(urls[at]) for at in (0, 2, 1)]
    assert gone["local_path"] == str(tmp_path / f"{names.stem(urls[1])}.safetensors")
    assert {name[:32] for name in place.files()} == {names.stem(urls[at]) for at in (0, 2, 3)}


async def test_too_large_is_told_before_a_byte_is_written(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", safetensors(3 * MB))
    async with caching(tmp_path, 2 * MB) as place:
        with pytest.raises(errors.ModelTooLarge, match=r"3\.00 MB.*at most 2\.00 MB") as caught:
            await get(place, url)
        assert not list((tmp_path / ".partial").glob("*.part"))
        [download] = place.cache.downloads()

    assert "LRU_CACHE_SIZE_GB" in (caught.value.hint or "")
    assert (download.state, download.bytes) == ("failed", 0)


async def test_one_job_cannot_need_more_than_there_is(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(2 * MB, at)) for at in range(2)]
    async with caching(tmp_path, 3 * MB) as place:
        await get(place, urls[0])
        with pytest.raises(errors.ModelTooLarge, match=r"beside 2\.00 MB that the same job"):
            await get(place, urls[1])
        place.cache.release("job")
        await get(place, urls[1])


async def test_what_could_fit_waits_until_others_let_go(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(2 * MB, at)) for at in range(2)]
    async with caching(tmp_path, 3 * MB) as place:
        await get(place, urls[0], "running")
        waiting = asyncio.create_task(get(place, urls[1], "next"))
        await wait_until(lambda: len(place.cache.downloads()) == 2, description="it has begun")
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        assert names.stem(urls[0]) + ".safetensors" in place.files()
        place.cache.loosen("running")
        found = await waiting

    assert list(place.files()) == [found.name]


async def test_loosened_files_are_evicted_last(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path, 2 * MB) as place:
        await get(place, urls[0], "queued")
        place.cache.loosen("queued")
        await get(place, urls[1], "done")
        place.cache.release("done")
        await get(place, urls[2], "next")
        kept = {name[:32] for name in place.files()}

    assert kept == {names.stem(urls[0]), names.stem(urls[2])}


async def test_ahead_of_its_turn_a_job_takes_nothing_from_earlier_ones(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(2)]
    first, second = ([Wanted(url)] for url in urls)
    async with caching(tmp_path, MB) as place:
        await place.cache.get_all(first, "first", is_ahead=True)
        place.cache.loosen("first")
        ahead = asyncio.create_task(place.cache.get_all(second, "second", is_ahead=True))
        await wait_until(lambda: len(place.cache.downloads()) == 2, description="it has begun")
        await asyncio.wait({ahead}, timeout=0.1)
        assert not ahead.done()

        # The first one's turn comes and goes.
        await place.cache.get_all(first, "first")
        place.cache.release("first")
        await ahead

    assert [host.whole(f"/{at}.safetensors") for at in range(2)] == [1, 1]


async def test_a_job_whose_turn_has_come_takes_what_only_the_queue_needs(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(2)]
    async with caching(tmp_path, MB) as place:
        await place.cache.get_all([Wanted(urls[0])], "queued", is_ahead=True)
        place.cache.loosen("queued")
        async with asyncio.timeout(5):
            await place.cache.get_all([Wanted(urls[1])], "running")

    assert {name[:32] for name in place.files()} == {names.stem(urls[1])}


@pytest.mark.parametrize("tells_size", [True, False])
async def test_two_jobs_that_each_hold_and_wait_both_get_through(
    host: Host, tmp_path: Path, tells_size: bool
) -> None:
    urls = [
        host.on(f"/{at}.safetensors", safetensors(MB, at), tells_size=tells_size or at < 2)
        for at in range(4)
    ]
    limit = 2 * MB if tells_size else 66 * MB
    wants = [[Wanted(urls[0]), Wanted(urls[2])], [Wanted(urls[1]), Wanted(urls[3])]]
    async with caching(tmp_path, limit) as place:

        async def job(at: int) -> list[bytes]:
            holder = f"job{at}"
            # Each has the one before it asks for the other.
            await place.cache.get(wants[at][0], holder)
            await asyncio.sleep(0)
            found = await place.cache.get_all(wants[at], holder)
            bodies = [one.path.read_bytes() for one in found]
            place.cache.release(holder)
            return bodies

        async with asyncio.timeout(20):
            bodies = await asyncio.gather(job(0), job(1))

    assert bodies == [
        [safetensors(MB, 0), safetensors(MB, 2)],
        [safetensors(MB, 1), safetensors(MB, 3)],
    ]


async def test_the_limit_holds_at_every_instant(host: Host, tmp_path: Path) -> None:
    """Twenty files stream through a cache of three, sampled all the while."""
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at), pause=0.001) for at in range(20)]
    over: list[int] = []
    samples = 0
    done = asyncio.Event()

    def sample() -> None:
        nonlocal samples
        while not done.is_set():
            size = model_bytes(tmp_path)
            samples += size is not None
            if size is not None and size > 3 * MB:
                over.append(size)

    async with caching(tmp_path, 3 * MB) as place:
        sampler = asyncio.create_task(asyncio.to_thread(sample))

        async def job(at: int) -> None:
            found = await get(place, urls[at], f"job{at}")
            assert found.path.stat().st_size == MB
            place.cache.release(f"job{at}")

        await asyncio.gather(*map(job, range(20)))
        done.set()
        await sampler
        assert len(place.files()) == 3

    assert samples > 50
    assert not over


async def test_what_a_job_holds_stays_while_others_press(host: Host, tmp_path: Path) -> None:
    """Eighty jobs want one or two of six files in a cache of three; none loses what it holds."""
    bodies = [safetensors(256 * KB, at) for at in range(6)]
    urls = [host.on(f"/{at}.safetensors", body) for at, body in enumerate(bodies)]
    lost: list[str] = []
    async with caching(tmp_path, 3 * 256 * KB) as place:

        async def job(at: int) -> None:
            holder, chance = f"job{at}", random.Random(at)
            wants = chance.sample(urls, 1 + at % 2)
            await asyncio.sleep(chance.random() / 2)
            found = await place.cache.get_all([Wanted(url) for url in wants], holder)
            for _ in range(5):
                lost.extend(one.name for one in found if not one.path.exists())
                await asyncio.sleep(0.001)
            if at % 3 == 0:
                place.cache.loosen(holder)
                await asyncio.sleep(0.005)
                found = await place.cache.get_all([Wanted(url) for url in wants], holder)
                lost.extend(one.name for one in found if not one.path.exists())
            place.cache.release(holder)

        async with asyncio.timeout(30):
            await asyncio.gather(*map(job, range(80)))
        assert len(place.files()) == 3
        # Some had to go, and were fetched again.
        assert len(place.told("file_downloaded")) > 6
    assert not lost


async def test_unknown_length_reserves_in_steps(host: Host, tmp_path: Path) -> None:
    small = host.on("/small.safetensors", BODY)
    url = host.on("/m.safetensors", safetensors(MB), tells_size=False)
    async with caching(tmp_path, 64 * MB) as place:
        await get(place, small)
        place.cache.release("job")
        found = await get(place, url)

    assert found.size == MB
    # The step of 64 MiB made it go.
    assert list(place.files()) == [found.name]


async def test_what_fits_though_a_step_of_unknown_length_does_not(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(at * MB), tells_size=False) for at in (2, 4)]
    async with caching(tmp_path, 3 * MB) as place:
        found = await get(place, urls[0])
        place.cache.release("job")
        with pytest.raises(errors.ModelTooLarge, match=r"at most 3\.00 MB"):
            await get(place, urls[1])

    assert found.size == 2 * MB


async def test_a_file_that_has_come_is_no_longer_reserved(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    how = settings(tmp_path, MB)
    reserved: list[int] = []

    def notify(name: str, data: dict[str, Any]) -> None:
        reserved.extend(one.reserved for one in claims(Layout(tmp_path).partial))

    async with (
        Providers.open(how) as providers,
        Cache.open(how, Downloader(providers), providers, notify) as cache,
    ):
        await cache.get(Wanted(url), "job")

    assert reserved == [0]


async def test_leftovers_count_go_first_and_do_not_live_long(host: Host, tmp_path: Path) -> None:
    partial = tmp_path / ".partial"
    partial.mkdir()
    old, fresh, excess = ("o" * 32, "f" * 32, "e" * 32)
    for at, stem in enumerate((excess, fresh, old)):
        (partial / f"{stem}.part").write_bytes(bytes(MB))
        (partial / f"{stem}.json").write_bytes(b"{}")
        age = 2 * 86_400 if stem == old else 100 - at
        now = partial.stat().st_mtime - age
        os.utime(partial / f"{stem}.part", (now, now))
    (tmp_path / f".fetch-{'0' * 32}.part").write_bytes(b"x")
    os.utime(tmp_path / f".fetch-{'0' * 32}.part", (1, 1))
    url = host.on("/m.safetensors", safetensors(MB))
    async with caching(tmp_path, 3 * MB // 2) as place:
        assert [path.stem for path in partial.glob("*.part")] == [fresh]
        assert not list(tmp_path.glob(".fetch*"))
        await get(place, url)
        assert not list(partial.glob("*.part"))
        assert not list(partial.glob("*.json"))


async def test_a_part_that_nothing_could_go_on_with_does_not_outlive_the_start(
    tmp_path: Path,
) -> None:
    partial = tmp_path / ".partial"
    partial.mkdir()
    parts = {word: partial / f"{word[0] * 32}.part" for word in ("empty", "unnoted", "claimed")}
    parts["unnoted"].write_bytes(bytes(MB))
    parts["empty"].with_suffix(".json").write_bytes(b"{}")
    for word in ("empty", "claimed"):
        parts[word].touch()
    async with claim(partial, "c" * 32), caching(tmp_path):
        assert list(partial.glob("*.part")) == [parts["claimed"]]


async def test_what_a_killed_process_was_about_to_evict_is_there_again_and_counts(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(2)]
    async with caching(tmp_path) as place:
        found = await get(place, urls[0])
    found.path.rename(place.layout.aside(found.name))
    async with caching(tmp_path, MB) as place:
        assert place.files() == {found.name: MB}
        await get(place, urls[0])
        assert len(host.asked) == 1
        place.cache.release("job")
        await get(place, urls[1])
        assert found.name not in place.files()


async def test_a_lowered_limit_is_kept_from_the_start(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path) as place:
        for url in urls:
            await get(place, url)
    async with caching(tmp_path, MB) as place:
        assert [name[:32] for name in place.files()] == [names.stem(urls[2])]


class Growing:
    """A downloader of files whose size shows only as they come; each begins before any ends."""

    def __init__(self, jobs: int) -> None:
        self.begun = 0
        self._jobs = jobs
        self._all_begun = asyncio.Event()

    async def run(self, order: Order) -> Arrival:
        path = order.folder / f"{order.stem}.part"
        await order.reserve(MB)
        path.write_bytes(bytes(MB))
        order.tell(MB, None)
        self.begun += 1
        if self.begun == self._jobs:
            self._all_begun.set()
        await self._all_begun.wait()
        await order.reserve(2 * MB)
        path.write_bytes(BODY)
        return arrived(path, BODY)


async def test_of_two_that_grow_into_each_other_the_later_gives_way(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors") for at in range(2)]
    found = settings(tmp_path, 5 * MB // 2)
    growing = Growing(2)
    async with (
        Providers.open(found) as providers,
        Cache.open(found, growing, providers, lambda *_: None) as cache,
    ):

        async def job(at: int) -> int:
            size = (await cache.get(Wanted(urls[at]), f"job{at}")).size
            cache.release(f"job{at}")
            return size

        async with asyncio.timeout(20):
            assert await asyncio.gather(job(0), job(1)) == [len(BODY)] * 2
        assert [one.state for one in cache.downloads()] == ["present"] * 2
    # One of them began twice.
    assert growing.begun == 3


async def test_pruning_leaves_what_jobs_need(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path) as place:
        for at, url in enumerate(urls):
            await get(place, url, f"job{at}")
        place.cache.release("job0")
        place.cache.loosen("job1")
        assert await place.cache.prune(3600) == []
        assert await place.cache.prune() == [f"{names.stem(urls[0])}.safetensors"]
        assert len(place.files()) == 2
