"""Kills, cancels and fingers in the cache while models are on their way: each job gets its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.acceptance.faulty import Gateway, Place, gateway, picture
from tests.acceptance.weights import cached_name
from tests.cache_stand import Host, Served, hosting
from tests.listening import listening
from tests.waiting import wait_until
from tests.weights import decoding, safetensors

LOCAL = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}
SIZE = 300_000
LARGE = 50 << 20


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


@pytest_asyncio.fixture
async def running(place: Place) -> AsyncIterator[Gateway]:
    async with gateway(place, **LOCAL) as found:
        yield found


def serve(host: Host, name: str, seed: int = 0, **how: Any) -> str:
    return host.on(f"/{name}.safetensors", safetensors(SIZE, seed), **how)


def served(host: Host, url: str) -> Served:
    return host.served[url.removeprefix(host.base)]


def asked(host: Host, url: str) -> int:
    path = url.removeprefix(host.base)
    return sum(1 for how, what, _, _ in host.asked if (how, what) == ("GET", path))


async def until_asked(host: Host, *urls: str) -> None:
    await wait_until(
        lambda: all(asked(host, url) for url in urls), description="the models are asked for"
    )


def cached(found: Gateway, url: str) -> Path:
    return found.place.folder / "cache_dir" / cached_name(url)


def linked(found: Gateway, url: str) -> Path:
    return found.place.folder / "model_dir" / "vae" / cached_name(url)


async def assert_runs(found: Gateway, url: str, **fields: Any) -> None:
    answer = await found.prompt(decoding(url), **fields)
    assert answer.status == 200, answer.body


async def download_of(found: Gateway, url: str) -> dict[str, Any]:
    downloads = (await found.ask("GET", "/downloads")).body["downloads"]
    return next((one for one in downloads if one["url"] == url), {})


async def until_given_up(found: Gateway, url: str) -> dict[str, Any]:
    async def is_given_up() -> bool:
        return (await download_of(found, url)).get("state") == "failed"

    await wait_until(is_given_up, description="the download has stopped")
    return await download_of(found, url)


@dataclass
class Upload:
    """A place for outputs that takes none before its gate is open."""

    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        self.asked.set()
        await self.gate.wait()
        await request.read()
        return web.Response()


@contextlib.asynccontextmanager
async def uploading() -> AsyncIterator[Upload]:
    upload = Upload()
    async with listening(web.put("/{name:.*}", upload.take)) as url:
        upload.url = f"{url}/outputs"
        yield upload


# Kills


async def test_a_job_goes_on_with_its_download_after_a_kill(place: Place, host: Host) -> None:
    body = safetensors(LARGE)
    url = host.on("/large.safetensors", body, pause=0.01)
    async with gateway(place, **LOCAL) as first:
        lost = first.begin(decoding(url), id="goes-on")
        await wait_until(lambda: host.sent > LARGE // 2, description="half of it is sent")
        await first.die()
        with pytest.raises(aiohttp.ClientError):
            await lost
    assert not cached(first, url).exists()
    async with gateway(place, **LOCAL) as second:
        job = await second.until_state("goes-on", "succeeded", "failed", timeout=30)
        assert job["state"] == "succeeded", job
        assert cached(second, url).read_bytes() == body
    assert host.sent - LARGE < LARGE // 5


async def test_jobs_that_wait_for_models_live_through_a_kill(place: Place, host: Host) -> None:
    urls = [serve(host, f"m{n}", n, held_at=SIZE // 2) for n in range(5)]
    async with gateway(place, **LOCAL) as first:
        lost = [first.begin(decoding(url), id=f"job-{n}") for n, url in enumerate(urls)]
        await first.until_jobs(5, "queued")
        # Any four: they are fetched as they were accepted, which may be in another order.
        await wait_until(
            lambda: sum(asked(host, url) > 0 for url in urls) >= 4,
            description="as many as are fetched at a time are asked for",
        )
        await first.die()
        for failure in await asyncio.gather(*lost, return_exceptions=True):
            assert isinstance(failure, aiohttp.ClientError)
    for url in urls:
        served(host, url).gate.set()
    async with gateway(place, **LOCAL) as second:
        for number, url in enumerate(urls):
            job = await second.until_state(f"job-{number}", "succeeded", "failed")
            assert job["state"] == "succeeded", job
            assert cached(second, url).read_bytes() == served(host, url).body


async def test_a_stop_lets_jobs_wait_for_the_next_start(place: Place, host: Host) -> None:
    url = serve(host, "stopped", held_at=SIZE // 2)
    async with gateway(place, DRAIN_TIMEOUT_S="5", **LOCAL) as first:
        named, nameless = first.begin(decoding(url), id="named"), first.begin(decoding(url))
        await first.until_jobs(2, "queued")
        await until_asked(host, url)
        first.terminate()
        for answer in (await named, await nameless):
            assert (answer.status, answer.body["code"]) == (503, "draining"), answer.body
        assert await first.exit_status() == 0
    served(host, url).gate.set()
    async with gateway(place, **LOCAL) as second:
        job = await second.until_state("named", "succeeded", "failed")
        assert job["state"] == "succeeded", job
        assert len(await second.jobs("succeeded")) == 1


async def test_a_stop_waits_for_no_model_of_a_job_whose_turn_has_come(
    place: Place, host: Host
) -> None:
    url = serve(host, "vanished")
    slow = {"COMFY_QUEUE_DEPTH": "1", "DRAIN_TIMEOUT_S": "60"}
    async with gateway(place, "--slow 2", **slow, **LOCAL) as found:
        ahead = found.begin(picture())
        await found.until_begun()
        engine = found.engine()
        engine.suspend()
        late = found.begin(decoding(url), id="late")
        await wait_until(cached(found, url).exists, description="it is fetched ahead of its turn")
        cached(found, url).unlink()
        served(host, url).held_at = SIZE // 2
        before = asked(host, url)
        engine.resume()
        await wait_until(lambda: asked(host, url) > before, description="it is fetched again")
        assert (await ahead).status == 200
        found.terminate()
        assert await found.exit_status() == 0
        assert (await late).body["code"] == "draining"
    served(host, url).gate.set()
    async with gateway(place, **LOCAL) as second:
        job = await second.until_state("late", "succeeded", "failed")
        assert (job["state"], job["attempt"]) == ("succeeded", 1), job


async def test_a_cache_of_another_sidecar_with_a_file_cut_short(place: Place, host: Host) -> None:
    whole, cut = serve(host, "whole", 1), serve(host, "cut", 2)
    folder = place.folder / "cache_dir"
    folder.mkdir()
    (folder / cached_name(whole)).write_bytes(served(host, whole).body)
    (folder / cached_name(cut)).write_bytes(served(host, cut).body[:-1])
    async with gateway(place, **LOCAL) as found:
        for url in (whole, cut):
            await assert_runs(found, url)
            assert linked(found, url).read_bytes() == served(host, url).body
    assert (asked(host, whole), asked(host, cut)) == (0, 1)


# Fingers in the cache


class TestByHand:
    async def test_a_file_is_deleted(self, running: Gateway, host: Host) -> None:
        url = serve(host, "deleted")
        await assert_runs(running, url)
        cached(running, url).unlink()
        await assert_runs(running, url)
        assert linked(running, url).read_bytes() == served(host, url).body
        assert asked(host, url) == 2

    async def test_a_file_is_cut_short(self, running: Gateway, host: Host) -> None:
        url = serve(host, "cut")
        await assert_runs(running, url)
        os.truncate(cached(running, url), SIZE // 2)
        await assert_runs(running, url)
        assert linked(running, url).read_bytes() == served(host, url).body
        assert asked(host, url) == 2

    async def test_a_link_is_deleted(self, running: Gateway, host: Host) -> None:
        url = serve(host, "unlinked")
        await assert_runs(running, url)
        linked(running, url).unlink()
        await assert_runs(running, url)
        assert linked(running, url).read_bytes() == served(host, url).body
        assert asked(host, url) == 1

    async def test_a_link_gives_way_to_a_file(self, running: Gateway, host: Host) -> None:
        url = serve(host, "replaced")
        await assert_runs(running, url)
        linked(running, url).unlink()
        linked(running, url).write_bytes(b"mine")
        answer = await running.prompt(decoding(url))
        assert (answer.status, answer.body["code"]) == (409, "link_occupied")
        assert linked(running, url).read_bytes() == b"mine"

    async def test_all_of_the_cache_is_deleted(self, running: Gateway, host: Host) -> None:
        url = serve(host, "wiped")
        await assert_runs(running, url)
        for path in sorted((running.place.folder / "cache_dir").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        await assert_runs(running, url)
        assert linked(running, url).read_bytes() == served(host, url).body

    async def test_the_part_of_a_download_is_deleted(self, running: Gateway, host: Host) -> None:
        url = host.on("/part.safetensors", safetensors(3 << 20), held_at=2 << 20)
        answer = running.begin(decoding(url))
        await until_asked(host, url)
        parts = running.place.folder / "cache_dir" / ".partial"

        def there() -> list[Path]:
            return [path for path in parts.glob("*.part") if path.stat().st_size > 0]

        [part] = await wait_until(there, description="some of it is there")
        part.unlink()
        served(host, url).gate.set()
        told = await answer
        # It may fail, and says so; what is not whole is never served.
        if told.status == 200:
            assert linked(running, url).read_bytes() == served(host, url).body
        else:
            assert told.body["code"] in ("model_not_fetched", "model_invalid"), told.body
        await assert_runs(running, url)
        assert linked(running, url).read_bytes() == served(host, url).body


# Those who leave


class TestCancel:
    async def test_a_download_that_nobody_wants_stops_and_goes_on_later(
        self, running: Gateway, host: Host
    ) -> None:
        url = serve(host, "cancelled", held_at=200_000)
        waiting = running.begin(decoding(url), id="left")
        await until_asked(host, url)
        answer = await running.ask("POST", "/jobs/left/cancel")
        assert answer.status in (200, 202)
        assert (await waiting).body["code"] == "cancelled"
        shown = await until_given_up(running, url)
        assert "Nobody waits for it" in shown["error"]
        served(host, url).gate.set()
        await assert_runs(running, url)
        assert host.sent < 2 * SIZE

    async def test_a_download_that_another_job_wants_goes_on(
        self, running: Gateway, host: Host
    ) -> None:
        url = serve(host, "shared", held_at=SIZE // 2)
        waiting = [running.begin(decoding(url), id=name) for name in ("leaves", "stays")]
        await running.until_jobs(2, "queued")
        await until_asked(host, url)
        await running.ask("POST", "/jobs/leaves/cancel")
        assert (await waiting[0]).body["code"] == "cancelled"
        served(host, url).gate.set()
        assert (await waiting[1]).status == 200
        assert asked(host, url) == 1

    async def test_a_job_that_times_out_disturbs_no_other(
        self, running: Gateway, host: Host
    ) -> None:
        url = serve(host, "late", held_at=SIZE // 2)
        late, other = running.begin(decoding(url), timeout=1), running.begin(decoding(url))
        answer = await late
        assert (answer.status, answer.body["code"]) == (504, "timeout")
        served(host, url).gate.set()
        assert (await other).status == 200
        assert asked(host, url) == 1

    async def test_a_client_that_hangs_up(self, running: Gateway, host: Host) -> None:
        url = serve(host, "hung-up", held_at=SIZE // 2)
        waiting = running.begin(decoding(url))
        await until_asked(host, url)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        shown = await until_given_up(running, url)
        assert "Nobody waits for it" in shown["error"]
        await running.until_jobs(1, "cancelled")


# Neighbours


class TestNeighbours:
    async def test_a_model_that_fails_disturbs_nobody(self, running: Gateway, host: Host) -> None:
        missing = f"{host.base}/missing.safetensors"
        good, slow = serve(host, "good"), serve(host, "slow", held_at=SIZE // 2)
        waits = running.begin(decoding(slow))
        await until_asked(host, slow)
        answers = await asyncio.gather(
            running.prompt(decoding(missing)),
            running.prompt(decoding(good)),
            running.prompt(picture()),
        )
        assert [answer.status for answer in answers] == [400, 200, 200]
        assert not waits.done()
        served(host, slow).gate.set()
        assert (await waits).status == 200

    async def test_many_slow_models_keep_no_other_job_waiting(
        self, running: Gateway, host: Host
    ) -> None:
        urls = [serve(host, f"slow-{n}", n, held_at=SIZE // 2) for n in range(6)]
        waits = [running.begin(decoding(url)) for url in urls]
        await running.until_jobs(6, "queued")
        await until_asked(host, *urls[:4])
        answer = await asyncio.wait_for(running.prompt(picture()), 10)
        assert answer.status == 200, answer.body
        for url in urls:
            served(host, url).gate.set()
        assert {(await one).status for one in waits} == {200}

    async def test_slow_models_keep_no_job_waiting_whose_own_are_there(
        self, running: Gateway, host: Host
    ) -> None:
        there = serve(host, "there")
        await assert_runs(running, there)
        urls = [serve(host, f"slow-{n}", n, held_at=SIZE // 2) for n in range(4)]
        waits = [running.begin(decoding(url)) for url in urls]
        await until_asked(host, *urls)
        await asyncio.wait_for(assert_runs(running, there), 10)
        for url in urls:
            served(host, url).gate.set()
        assert {(await one).status for one in waits} == {200}

    async def test_who_is_being_delivered_keeps_nobody_from_a_model(
        self, place: Place, host: Host
    ) -> None:
        urls = [serve(host, f"m{n}", n) for n in range(2)]
        room = {"LRU_CACHE_SIZE_GB": str(SIZE * 1.5 / (1 << 30))}
        async with uploading() as upload, gateway(place, **LOCAL, **room) as found:
            first = found.begin(decoding(urls[0]), http_upload={"url_prefix": upload.url})
            await asyncio.wait_for(upload.asked.wait(), 15)
            await asyncio.wait_for(assert_runs(found, urls[1]), 10)
            assert not first.done()
            upload.gate.set()
            assert (await first).status == 200

    async def test_one_model_of_two_fails(self, running: Gateway, host: Host) -> None:
        slow = serve(host, "of-two", held_at=SIZE // 2)
        graph = decoding(slow)
        graph["5"] = {
            "class_type": "VAELoader",
            "inputs": {"vae_name": f"{host.base}/missing.safetensors"},
        }
        decoder = {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["5", 0]}}
        graph["6"] = decoder
        graph["7"] = {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}
        answer = await running.prompt(graph)
        assert (answer.status, answer.body["code"]) == (400, "model_not_fetched")
        assert answer.body["location"] == "prompt.5.inputs.vae_name"
        # The other one is not wanted any more.
        await until_given_up(running, slow)

    async def test_a_failure_that_nobody_waits_for_is_told_by_the_job(
        self, running: Gateway, host: Host
    ) -> None:
        url = f"{host.base}/missing.safetensors?token=pl4nted"
        answer = await running.ask(
            "POST", "/prompt", {"prompt": decoding(url), "id": "a"}, Prefer="respond-async"
        )
        assert answer.status == 202, answer.body
        job = await running.until_state("a", "failed")
        error = job["error"]
        assert error["code"] == "model_not_fetched"
        assert "404: there is no such file" in error["message"]
        assert error["location"] == "prompt.1.inputs.vae_name"
        assert "pl4nted" not in str(job["error"])
