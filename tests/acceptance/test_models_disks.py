"""Models in a cache that is small, full, read-only or on a disk of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.conftest import mounted
from tests.acceptance.faulty import Answer, Gateway, Place, fill, gateway, picture
from tests.acceptance.weights import cached_name
from tests.cache_stand import GB, Host, hosting, model_bytes
from tests.waiting import wait_until
from tests.weights import decoding, safetensors

LOCAL = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}
SIZE = 300_000
#: Room for three files.
LIMIT = 1_073_741
LIMITED = {**LOCAL, "LRU_CACHE_SIZE_GB": str(LIMIT / GB)}


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk with such options."""
    numbers = itertools.count()
    with contextlib.ExitStack() as disks:
        yield lambda options: disks.enter_context(
            mounted(tmp_path / f"disk-{next(numbers)}", options)
        )


def serve(host: Host, seed: int, size: int = SIZE, **how: Any) -> str:
    return host.on(f"/{seed}.safetensors", safetensors(size, seed), **how)


def of_two(one: str, other: str) -> dict[str, Any]:
    """Return a graph that loads two models."""
    graph = decoding(one)
    graph["5"] = {"class_type": "VAELoader", "inputs": {"vae_name": other}}
    inputs = {"samples": ["2", 0], "vae": ["5", 0]}
    graph["6"] = {"class_type": "VAEDecode", "inputs": inputs}
    graph["7"] = {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}
    return graph


async def download(found: Gateway, url: str) -> Answer:
    body = {"url": url, "model_type": "vae", "wait": True}
    return await found.ask("POST", "/download", body)


def refused(answer: Answer, status: int, code: str, *says: str) -> str:
    """Check a refusal and what it says; return its sentence and hint."""
    assert (answer.status, answer.body["code"]) == (status, code), answer.body
    told = f"{answer.body['error']} {answer.body.get('hint', '')}"
    for text in says:
        assert text in told
    return told


# Disks


async def test_a_cache_on_a_disk_of_its_own(
    place: Place, host: Host, disk: Callable[[str], Path]
) -> None:
    url = serve(host, 1)
    cache = disk("size=8m")
    async with gateway(place, CACHE_DIR=str(cache), **LOCAL) as found:
        for _ in range(2):
            answer = await found.prompt(decoding(url))
            assert answer.status == 200, answer.body
    link = place.folder / "model_dir" / "vae" / cached_name(url)
    assert link.readlink() == cache / cached_name(url)
    assert link.read_bytes() == safetensors(SIZE, 1)


async def test_a_cache_that_can_never_be_written_stops_the_start(
    place: Place, disk: Callable[[str], Path]
) -> None:
    cache = disk("size=8m,ro")
    with pytest.raises(AssertionError) as told:
        async with gateway(place, CACHE_DIR=str(cache), **LOCAL):
            pass
    assert f"CACHE_DIR={cache}" in str(told.value)
    assert "Read-only file system" in str(told.value)
    assert "Traceback" not in str(told.value)


async def test_a_cache_that_cannot_be_written_any_more(
    place: Place, host: Host, disk: Callable[[str], Path]
) -> None:
    before, after = serve(host, 1), serve(host, 2)
    cache = disk("size=8m")
    async with gateway(place, CACHE_DIR=str(cache), **LOCAL) as found:
        assert (await found.prompt(decoding(before))).status == 200
        remount = ["mount", "-o", "remount,ro", str(cache)]
        subprocess.run(remount, check=True, capture_output=True)
        for answer in (await found.prompt(decoding(after)), await download(found, after)):
            told = refused(answer, 400, "model_not_fetched", after, "CACHE_DIR", "gateway's disk")
            assert str(place.folder) not in f"{told}{answer.body}"
        # What is there already, is served.
        assert (await found.prompt(decoding(before))).status == 200
        assert (await found.prompt(picture())).status == 200


async def test_a_models_folder_that_cannot_be_written(
    place: Place, host: Host, disk: Callable[[str], Path]
) -> None:
    url = serve(host, 1)
    models = disk("size=1m,ro")
    async with gateway(place, MODEL_DIR=str(models), **LOCAL) as found:
        for _ in range(2):
            answer = await found.prompt(decoding(url))
            assert answer.status == 200, answer.body
        assert cached_name(url) in (await found.ask("GET", "/models")).body["vae"]
    link = place.folder / "cache_dir" / "links" / "vae" / cached_name(url)
    assert link.read_bytes() == safetensors(SIZE, 1)
    assert not list(models.iterdir())


@pytest.mark.parametrize("at_once", [1, 4])
async def test_a_disk_that_is_the_limit(
    place: Place, host: Host, disk: Callable[[str], Path], at_once: int
) -> None:
    urls = [serve(host, seed, pause=0.01) for seed in range(12)]
    async with gateway(place, CACHE_DIR=str(disk("size=2m")), **LOCAL) as found:
        turns = asyncio.Semaphore(at_once)

        async def run(url: str) -> Answer:
            async with turns:
                return await found.prompt(decoding(url))

        answers = await asyncio.gather(*map(run, urls))
        assert [answer.status for answer in answers] == [200] * len(urls), answers


async def test_a_file_that_the_disk_has_no_room_for(
    place: Place, host: Host, disk: Callable[[str], Path]
) -> None:
    large, small = serve(host, 1, 4 << 20), serve(host, 2)
    async with gateway(place, CACHE_DIR=str(disk("size=2m")), **LOCAL) as found:
        for answer in (await found.prompt(decoding(large)), await download(found, large)):
            told = refused(answer, 507, "storage_full", large, "4.00 MB", "CACHE_DIR", "Free")
            assert str(place.folder) not in f"{told}{answer.body}"
        assert (await found.prompt(decoding(small))).status == 200


@pytest.mark.parametrize("tells_size", [True, False])
async def test_a_disk_that_fills_midway(
    place: Place, host: Host, disk: Callable[[str], Path], tells_size: bool
) -> None:
    url = serve(host, 1, 3 << 20, held_at=2 << 20, tells_size=tells_size)
    # Of an unknown size, 64 MB are reserved.
    cache = disk("size=80m")
    async with gateway(place, CACHE_DIR=str(cache), **LOCAL) as found:
        asked = found.begin(decoding(url))

        def has_begun() -> bool:
            return any(path.stat().st_size for path in (cache / ".partial").glob("*.part"))

        await wait_until(has_begun, description="some of it is there")
        filler = fill(cache)
        host.served["/1.safetensors"].gate.set()
        answer = await asked
        told = refused(answer, 507, "storage_full", "CACHE_DIR")
        assert str(place.folder) not in f"{told}{answer.body}"
        assert (await found.prompt(picture())).status == 200
        filler.unlink()
        assert (await found.prompt(decoding(url))).status == 200


# The limit


@pytest.mark.parametrize("tells_size", [True, False])
async def test_twenty_jobs_through_a_cache_of_three(
    place: Place, host: Host, tells_size: bool
) -> None:
    # Without a size, 64 MB are reserved at a time.
    limit = LIMIT if tells_size else 3 * (64 << 20)
    urls = [serve(host, seed, pause=0.01, tells_size=tells_size) for seed in range(20)]
    settings = {**LOCAL, "LRU_CACHE_SIZE_GB": str(limit / GB)}
    async with gateway(place, **settings) as found:
        asked = [found.begin(decoding(url)) for url in urls]
        most = 0
        while not all(one.done() for one in asked):
            most = max(most, model_bytes(place.folder / "cache_dir") or 0)
            assert most <= limit
            await asyncio.sleep(0.005)
        answers = [await one for one in asked]
        assert [answer.status for answer in answers] == [200] * 20, answers
        assert most > SIZE
        held = (await found.ask("GET", "/cache")).body
        assert held["limit"] - 1 <= limit
        assert all(not file["pins"] for file in held["files"])


@pytest.mark.parametrize("is_there", [False, True])
async def test_two_models_of_a_job_that_exceed_the_limit_together(
    place: Place, host: Host, is_there: bool
) -> None:
    one, other = serve(host, 1, 600_000), serve(host, 2, 500_000)
    async with gateway(place, **LIMITED) as found:
        if is_there:
            assert (await found.prompt(decoding(one))).status == 200
        answer = await asyncio.wait_for(found.prompt(of_two(one, other)), 5)
        refused(answer, 413, "model_too_large", "585.94 KB", "488.28 KB", "1.02 MB")
        assert "LRU_CACHE_SIZE_GB" in answer.body["hint"]
        assert answer.body["location"] in ("prompt.1.inputs.vae_name", "prompt.5.inputs.vae_name")
        # Each alone is welcome, at the same time even.
        alone = await asyncio.gather(*(found.prompt(decoding(url)) for url in (one, other)))
        assert [answer.status for answer in alone] == [200, 200]


async def test_one_model_that_exceeds_the_limit(place: Place, host: Host) -> None:
    url = serve(host, 1, 2 << 20)
    async with gateway(place, **LIMITED) as found:
        for answer in (await found.prompt(decoding(url)), await download(found, url)):
            refused(answer, 413, "model_too_large", url, "2.00 MB", "1.02 MB", "LRU_CACHE_SIZE_GB")
        assert not list((place.folder / "cache_dir").rglob("*.part"))


async def test_one_model_of_no_known_size_that_exceeds_the_limit(place: Place, host: Host) -> None:
    url = serve(host, 1, 2 << 20, tells_size=False)
    async with gateway(place, **LIMITED) as found:
        for answer in (await found.prompt(decoding(url)), await download(found, url)):
            refused(answer, 413, "model_too_large", url, "1.02 MB", "LRU_CACHE_SIZE_GB")
