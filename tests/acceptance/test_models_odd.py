"""Odd wishes and odd folders around models: what is asked for comes, or the answer says why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.acceptance.conftest import Gateway as Shared
from tests.acceptance.conftest import refused
from tests.acceptance.faulty import Place, gateway
from tests.acceptance.weights import cached_name
from tests.cache_stand import GB, Host, hosting
from tests.waiting import wait_until
from tests.weights import decoding, safetensors

LOCAL = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}
SIZE = 300_000
#: Room for three files.
LIMITED = {**LOCAL, "LRU_CACHE_SIZE_GB": str(1_073_741 / GB)}


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


@pytest.fixture(scope="module")
def shared(start: Callable[..., Any]) -> Iterator[Shared]:
    with start(**LOCAL) as found:
        yield found


def serve(host: Host, name: object, seed: int = 0, **how: Any) -> str:
    return host.on(f"/{name}.safetensors", safetensors(SIZE, seed), **how)


def gets(host: Host) -> int:
    return sum(1 for how, *_ in host.asked if how == "GET")


def of_many(*urls: str) -> dict[str, Any]:
    """Return a graph that loads a model for each URL."""
    graph: dict[str, Any] = {}
    for number, url in enumerate(urls):
        for node, content in decoding(url, prefix=f"p{number}").items():
            text = str(10 * number + int(node))
            inputs = {
                name: [str(10 * number + int(value[0])), 0] if isinstance(value, list) else value
                for name, value in content["inputs"].items()
            }
            graph[text] = {**content, "inputs": inputs}
    return graph


async def test_one_url_many_times_in_a_prompt(place: Place, host: Host) -> None:
    url = serve(host, "many")
    async with gateway(place, **LOCAL) as found:
        answer = await found.prompt(of_many(*[url] * 5))
        assert answer.status == 200, answer.body
        assert len(answer.body["images"]) == 5
    assert gets(host) == 1


async def test_a_user_in_the_url_is_no_other_file(place: Place, host: Host) -> None:
    url = serve(host, "user")
    other = url.replace("://", "://me:pl4nted@")
    async with gateway(place, **LOCAL) as found:
        answer = await found.prompt(of_many(url, other))
        assert answer.status == 200, answer.body
        assert "pl4nted" not in str(answer.body)
        used = {answer.body["prompt"][node]["inputs"]["vae_name"] for node in ("1", "11")}
        assert used == {cached_name(url)}


async def test_a_job_whose_credentials_were_lost_says_so(place: Place, host: Host) -> None:
    url = serve(host, "private", authorization="Bearer t", held_at=SIZE // 2)
    auth = {"type": "bearer", "token": "t"}
    given = {"credentials": [{"url_pattern": "http://**", "auth": auth}]}
    async with gateway(place, **LOCAL) as first:
        lost = first.begin(decoding(url), id="private", **given)
        await wait_until(lambda: gets(host), description="the model is asked for")
        await first.die()
        with pytest.raises(aiohttp.ClientError):
            await lost
    async with gateway(place, **LOCAL) as second:
        job = await second.until_state("private", "failed", "succeeded")
        assert job["error"]["code"] == "credentials_lost"
        # What came with them is given to nobody without.
        host.served["/private.safetensors"].gate.set()
        refused = await second.prompt(decoding(url))
        assert refused.status in (400, 403), refused.body
        answer = await second.prompt(decoding(url), **given)
        assert answer.status == 200, answer.body


async def test_a_model_that_runs_stays_while_others_press(place: Place, host: Host) -> None:
    first = serve(host, "first", 99)
    others = [serve(host, n, n) for n in range(4)]
    async with gateway(place, "--slow 0.2", **LIMITED) as found:
        running = found.begin(decoding(first), id="runs")
        [begun] = await found.until_begun()
        path = place.folder / "cache_dir" / cached_name(first)
        pressing = [found.begin(decoding(url)) for url in others]
        while not running.done():
            is_there = path.exists()
            # In this order: it may go as soon as ComfyUI is done with it.
            is_needed = await found.engine_runs(begun["prompt_id"])
            assert is_there or not is_needed
            await asyncio.sleep(0.01)
        assert (await running).status == 200
        assert [(await one).status for one in pressing] == [200] * 4


async def test_what_was_evicted_while_it_was_queued_comes_back(place: Place, host: Host) -> None:
    urls = [serve(host, n, n) for n in range(10)]
    async with gateway(place, "--slow 0.1", **LIMITED) as found:
        asked = [found.begin(decoding(url)) for url in urls]
        for url, one in zip(urls, asked, strict=True):
            answer = await one
            assert answer.status == 200, (url, answer.body)


def blocked_name(cache: Path, name: str) -> None:
    (cache / name).mkdir(parents=True)


def link_to_elsewhere(cache: Path, name: str) -> None:
    cache.mkdir()
    (cache.parent / "else").write_bytes(safetensors(SIZE, 7))
    (cache / name).symlink_to(cache.parent / "else")


def blocked_part(cache: Path, name: str) -> None:
    (cache / ".partial" / f"{name[:32]}.part").mkdir(parents=True)


@pytest.mark.parametrize("prepare", [blocked_name, link_to_elsewhere, blocked_part])
async def test_what_is_in_the_way_in_the_cache(
    place: Place, host: Host, prepare: Callable[[Path, str], None]
) -> None:
    url = serve(host, "way")
    prepare(place.folder / "cache_dir", cached_name(url))
    async with gateway(place, **LOCAL) as found:
        answer = await asyncio.wait_for(found.prompt(decoding(url)), 10)
        if answer.status == 200:
            seen = place.folder / "model_dir" / "vae" / cached_name(url)
            assert seen.read_bytes() == safetensors(SIZE)
        else:
            assert (answer.status, answer.body["code"]) == (400, "model_not_fetched")
            assert "CACHE_DIR" in answer.body["error"]
            assert str(place.folder) not in str(answer.body)


async def test_of_many_who_want_one_name_one_gets_it(place: Place, host: Host) -> None:
    urls = [serve(host, n, n) for n in range(6)]
    async with gateway(place, **LOCAL) as found:
        wish = {"model_type": "vae", "filename": "wanted.safetensors", "wait": True}
        asked = (found.ask("POST", "/download", {"url": url, **wish}) for url in urls)
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status for answer in answers) == [200] + [409] * 5
        [winner] = [url for url, one in zip(urls, answers, strict=True) if one.status == 200]
        link = place.folder / "model_dir" / "vae" / "wanted.safetensors"
        assert link.read_bytes() == host.served[winner.removeprefix(host.base)].body


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        ("../../etc/passwd", "invalid_graph", "models folder 'vae'"),
        ("/etc/passwd", "invalid_graph", "models folder 'vae'"),
        ("a\0b", "invalid_graph", "models folder 'vae'"),
        ("x" * 300, "invalid_graph", "models folder 'vae'"),
        ("ftp://host/x.safetensors", "invalid_graph", "begins with http://"),
        ("file:///etc/passwd", "invalid_input", "ALLOWED_FILE_ROOTS"),
        ("http://", "invalid_input", "https://host/path"),
        ("https://exa mple/x", "invalid_input", "https://host/path"),
        ("s3://", "invalid_input", "s3://bucket/key"),
        ("hf://", "invalid_input", "hf://org/repo/path"),
    ],
)
async def test_a_value_that_is_neither_a_name_nor_a_url_to_fetch(
    shared: Shared, value: str, code: str, words: str
) -> None:
    answer = await shared.ask(body={"prompt": decoding(value)})
    status = 422 if code == "invalid_graph" else 400
    found = refused(answer, status, code, words)
    assert found["location"] == "prompt.1.inputs.vae_name"
