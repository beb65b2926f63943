"""One cache folder, several processes: one fetch, no one's file taken, never over the limit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.models import names
from gateway.models.cache import Wanted, verify_folder
from gateway.storage import claimfile
from gateway.storage.partial import discard
from tests.cache_stand import Host, Place, caching, get, hosting, model_bytes
from tests.waiting import wait_until
from tests.weights import safetensors

MB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


@contextlib.asynccontextmanager
async def process(folder: Path, limit: int, how: str, *urls: str) -> AsyncIterator[Process]:
    """Run a cache in a process of its own, which is ready."""
    program = [sys.executable, "-m", "tests.child_programs.cache"]
    child = await asyncio.create_subprocess_exec(
        *program, str(folder), str(limit), how, *urls, cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        assert await line(child) == {"ready": True}
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def line(child: Process) -> dict[str, Any]:
    assert child.stdout is not None
    found: dict[str, Any] = json.loads(await child.stdout.readline())
    return found


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_two_processes_that_ask_for_one_url_fetch_it_once(host: Host, tmp_path: Path) -> None:
    body = safetensors(MB)
    url = host.on("/m.safetensors", body, pause=0.005)
    async with (
        process(tmp_path, 0, "release", url) as one,
        process(tmp_path, 0, "release", url) as other,
    ):
        told = await asyncio.gather(line(one), line(other))

    assert {one["sha256"] for one in told} == {sha256(body)}
    assert sorted(one["fetched"] for one in told) == [0, 1]
    assert host.whole("/m.safetensors") == 1


async def test_when_the_one_that_fetches_is_killed_another_takes_over(
    host: Host, tmp_path: Path
) -> None:
    body = safetensors(16 * MB)
    url = host.on("/m.safetensors", body, held_at=12 * MB)
    async with process(tmp_path, 20 * MB, "release", url) as first:
        journal = tmp_path / ".partial" / f"{names.stem(url)}.json"
        await wait_until(
            lambda: journal.exists() and host.sent >= 12 * MB, description="most of it is here"
        )
        async with caching(tmp_path, 20 * MB) as place:
            task = asyncio.create_task(get(place, url))
            await asyncio.wait({task}, timeout=0.1)
            assert not task.done()
            first.kill()
            host.served["/m.safetensors"].gate.set()
            found = await task
            assert found.path.read_bytes() == body
    spans = [span or "bytes=0-" for _, _, span, _ in host.asked]
    assert max(int(span[6:].partition("-")[0]) for span in spans) >= 6 * MB
    assert host.whole("/m.safetensors") == 1


async def test_who_was_silent_for_too_long_begins_again_behind_its_follower(
    host: Host, tmp_path: Path
) -> None:
    body = safetensors(8 * MB)
    url = host.on("/m.safetensors", body, held_at=6 * MB)
    stem = names.stem(url)
    async with caching(tmp_path) as place:
        task = asyncio.create_task(get(place, url))
        part = tmp_path / ".partial" / f"{stem}.part"
        await wait_until(lambda: part.exists() and host.sent >= 6 * MB, description="most is here")
        # What a follower on another host does, and where it writes its own file then.
        taken = part.with_suffix(".claim")
        found = claimfile.read(taken)
        assert found is not None
        claimfile.end(taken, found.token, 30, lambda: discard(part.parent, stem))
        part.write_bytes(b"another's")
        host.served["/m.safetensors"].gate.set()
        assert (await task).path.read_bytes() == body
        assert len(place.told("file_downloaded")) == 1
        assert [one.state for one in place.cache.downloads()] == ["present", "failed"]


async def test_what_another_process_uses_is_not_evicted(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with process(tmp_path, 2 * MB, "hold", urls[0]) as child:
        await line(child)
        pins = tmp_path / ".pins"

        def is_told() -> bool:
            return any(names.stem(urls[0]) in path.read_text() for path in pins.glob("*.json"))

        await wait_until(is_told, description="the other process tells what it needs")
        async with caching(tmp_path, 2 * MB) as place:
            name = f"{names.stem(urls[0])}.safetensors"
            with pytest.raises(errors.CacheEntryInUse):
                await place.cache.delete(name)
            assert await place.cache.prune() == []
            for url in urls[1:]:
                await get(place, url)
                place.cache.release("job")
            assert name in place.files()
            # Whoever is dead needs nothing.
            child.kill()
            await child.wait()
            await place.cache.delete(name)
            assert name not in place.files()


async def test_a_start_with_less_room_takes_nothing_that_another_process_uses(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(2)]
    async with process(tmp_path, 0, "hold", urls[0]) as child:
        await line(child)
        pins = tmp_path / ".pins"

        def is_told() -> bool:
            return any(names.stem(urls[0]) in path.read_text() for path in pins.glob("*.json"))

        await wait_until(is_told, description="the other process tells what it needs")
        async with caching(tmp_path) as place:
            await get(place, urls[1])
        async with caching(tmp_path, MB // 2) as place:
            assert list(place.files()) == [f"{names.stem(urls[0])}.safetensors"]


async def test_files_of_another_process_are_noticed_and_count(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path, 2 * MB) as place:
        async with process(tmp_path, 2 * MB, "release", *urls[:2]) as child:
            for _ in range(2):
                await line(child)
            await child.wait()
        assert len(await place.cache.entries()) == 2
        asked = len(host.asked)
        await get(place, urls[1])
        assert len(host.asked) == asked
        await get(place, urls[2])
        assert {name[:32] for name in place.files()} == {names.stem(url) for url in urls[1:]}


async def test_a_use_by_another_process_counts_as_a_use(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path, 2 * MB) as place:
        for url in urls[:2]:
            await get(place, url)
        place.cache.release("job")
        # A process that has ended by now: its use is told by the file's time alone.
        path = tmp_path / f"{names.stem(urls[0])}.safetensors"
        later = path.stat().st_mtime + 60
        os.utime(path, (later, later))
        await get(place, urls[2])
        kept = {name[:32] for name in place.files()}
    assert kept == {names.stem(urls[0]), names.stem(urls[2])}


async def test_a_file_is_in_use_for_others_from_the_moment_it_was_handed_out(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path, 2 * MB) as one, caching(tmp_path, 2 * MB) as other:
        for url in urls[:2]:
            await get(one, url, url)
            one.cache.release(url)
        # Since the other one looked nothing was written down but what came before this:
        with contextlib.suppress(errors.ModelTooLarge):
            await get(other, host.on("/large.safetensors", safetensors(4 * MB)))
        for _ in range(2):
            # Twice, since what is told is gathered for a while after the first time.
            found = await get(one, urls[0], "running")
        await get(other, urls[2], "another")
        assert found.path.exists()
        assert names.stem(urls[1]) not in {name[:32] for name in other.files()}


async def test_two_caches_whose_jobs_hold_and_wait_both_get_through(
    host: Host, tmp_path: Path
) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(4)]

    async def job(place: Place, wants: list[str]) -> int:
        await get(place, wants[0])
        ready.release()
        await start.wait()
        found = await place.cache.get_all([Wanted(url) for url in wants], "job")
        size = sum([one.path.stat().st_size for one in found])
        place.cache.release("job")
        return size

    ready, start = asyncio.Semaphore(0), asyncio.Event()
    async with caching(tmp_path, 2 * MB) as one, caching(tmp_path, 2 * MB) as other:
        jobs = [
            asyncio.create_task(job(one, urls[:2])),
            asyncio.create_task(job(other, urls[2:])),
        ]
        for _ in jobs:
            await ready.acquire()
        start.set()
        async with asyncio.timeout(30):
            assert await asyncio.gather(*jobs) == [2 * MB, 2 * MB]


async def test_several_processes_never_exceed_the_limit(host: Host, tmp_path: Path) -> None:
    """Three stream ten files each through a cache of three, sampled all the while."""
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at), pause=0.001) for at in range(10)]
    limit = 3 * MB
    most = samples = 0
    async with contextlib.AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(
                process(tmp_path, limit, "release", *urls[at:], *urls[:at])
            )
            for at in (0, 3, 6)
        ]

        def sample() -> None:
            nonlocal most, samples
            while any(child.returncode is None for child in children):
                size = model_bytes(tmp_path)
                if size is not None:
                    most, samples = max(most, size), samples + 1

        sampler = asyncio.create_task(asyncio.to_thread(sample))
        for child in children:
            for _ in urls:
                assert "sha256" in await line(child)
            assert await child.wait() == 0
        await sampler

    assert samples > 50
    assert most <= limit


async def test_killed_at_any_instant_nothing_looks_whole_and_is_not(
    host: Host, tmp_path: Path
) -> None:
    body = safetensors(8 * MB)
    url = host.on("/m.safetensors", body, pause=0.004)
    chance = random.Random(3)
    for _ in range(4):
        async with process(tmp_path, 10 * MB, "release", url) as child:
            await asyncio.sleep(chance.random() / 2)
            child.kill()
        assert all(is_whole for _, is_whole, _ in verify_folder(tmp_path))
    async with caching(tmp_path, 10 * MB) as place:
        assert (await get(place, url)).path.read_bytes() == body
        assert list((tmp_path / ".partial").iterdir()) == []
