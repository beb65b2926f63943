"""The cache against real hosts, real files and a real downloader."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import struct
import sys
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

from gateway import errors
from gateway.models import names
from gateway.models.cache import Cache, Cached, Wanted, verify_folder
from gateway.models.layout import Layout
from gateway.schemas import BearerAuth
from gateway.storage.claim import claim, claims
from gateway.storage.download import Arrival, Downloader, Order
from gateway.storage.providers import Providers
from tests.cache_stand import Host, Place, caching, hosting, model_bytes, settings
from tests.waiting import wait_until
from tests.weights import safetensors

KB = 1 << 10
MB = 1 << 20
BODY = safetensors(64 * KB)
RIGHT = BearerAuth(type="bearer", token="right-s3cret")
WRONG = BearerAuth(type="bearer", token="wrong-s3cret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


async def get(place: Place, url: str, holder: str = "job", **how: object) -> Cached:
    return await place.cache.get(Wanted(url, **how), holder)  # type: ignore[arg-type]


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
        assert len(place.told("file_downloaded")) > 12
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


# Verification


def _zip(cut: int = 0) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(50_000))
    body = buffer.getvalue()
    return body[: len(body) - cut]


BAD = {
    "truncated": ("m.safetensors", BODY[:-1], "65,536 bytes, as the header has it, found 65,535"),
    "longer": ("m.safetensors", BODY + b"x", "found 65,537 bytes"),
    "no header": ("m.safetensors", struct.pack("<Q", 10**12) + bytes(100), "no length of a header"),
    "header past the end": ("m.safetensors", struct.pack("<Q", 500) + b"{}", "a file of 10 bytes"),
    "no json": ("m.safetensors", struct.pack("<Q", 4) + b"{xx}", "cannot be read"),
    "a list": ("m.safetensors", struct.pack("<Q", 2) + b"[]", "a header that is a list"),
    "a hole": (
        "m.safetensors",
        struct.pack("<Q", 30) + b'{"a":{"data_offsets":[4, 8]}} ' + bytes(8),
        "at byte 0 of the data",
    ),
    "cut zip": ("m.ckpt", _zip(30), "table of contents"),
    "login": ("m.safetensors", b"\n <!DOCTYPE html><html>Log in</html>", "a web page"),
    "login of a pickle": ("m.pt", b"<html><body>Log in</body></html>", "a web page"),
    "message": ("m.ckpt", b'{"error": "who are you?"}', "who are you"),
    "not gguf": ("m.gguf", b"GGML" + bytes(100), "a GGUF file"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_model_is_refused_and_removed(
    host: Host, tmp_path: Path, name: str
) -> None:
    path, body, found = BAD[name]
    url = host.on(f"/{path}", body)
    async with caching(tmp_path) as place:
        with pytest.raises(errors.ModelInvalid, match="is not the model it was said") as caught:
            await get(place, url, location="prompt.1.inputs.x")
        [download] = place.cache.downloads()

    assert found in caught.value.message
    assert caught.value.location == "prompt.1.inputs.x"
    assert caught.value.details["url"] == url
    assert download.state == "failed"
    assert not place.files()
    assert not list((tmp_path / ".partial").iterdir())
    if "page" in found:
        assert "give credentials" in (caught.value.hint or "")


async def test_a_login_that_calls_itself_a_page_is_no_model(host: Host, tmp_path: Path) -> None:
    body, typed = b"<!doctype html><p>Log in", {"Content-Type": "text/html; charset=utf-8"}
    url = host.on("/download/5", body, headers=typed)
    page = host.on("/readme.html", body, headers=typed)
    async with caching(tmp_path) as place:
        with pytest.raises(errors.ModelInvalid, match="a web page"):
            await get(place, url)
        assert (await get(place, page)).size == len(body)


async def test_whole_files_of_other_formats_pass(host: Host, tmp_path: Path) -> None:
    bodies = {"a.ckpt": _zip(), "b.gguf": b"GGUF" + bytes(99), "c.pth": b"\x80\x02old pickle"}
    async with caching(tmp_path) as place:
        for name, body in bodies.items():
            found = await get(place, host.on(f"/{name}", body))
            assert found.path.read_bytes() == body


async def test_a_wrong_sha256_fails_only_who_gave_it(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY)
    right, wrong = hashlib.sha256(BODY).hexdigest(), "0" * 64
    async with caching(tmp_path) as place:
        first, second = await asyncio.gather(
            get(place, url, "a", sha256=wrong),
            get(place, url, "b", sha256=right.upper()),
            return_exceptions=True,
        )
        with pytest.raises(errors.ModelInvalid, match="in the cache"):
            await get(place, url, "c", sha256=wrong)
        asked = len(host.asked)
        await get(place, url, "d", sha256=right)

    assert isinstance(first, errors.ModelInvalid)
    assert wrong in first.message
    assert isinstance(second, Cached)
    assert len(host.asked) == asked


# Credentials


async def test_a_private_file_is_served_to_accepted_credentials_alone(
    host: Host, tmp_path: Path
) -> None:
    url = host.on("/m.safetensors", BODY, authorization="Bearer right-s3cret")
    async with caching(tmp_path) as place:
        await get(place, url, "a", auth=RIGHT)
        fetched = len(host.asked)
        await get(place, url, "b", auth=RIGHT)
        assert len(host.asked) == fetched
        for _ in range(2):
            for auth in (None, WRONG):
                with pytest.raises(errors.CredentialsRefused, match="needs credentials") as caught:
                    await get(place, url, "c", auth=auth)
        assert len(host.asked) == fetched + 2
        assert "s3cret" not in str(caught.value.to_dict())

    # The next process knows no verdicts.
    async with caching(tmp_path) as place:
        with pytest.raises(errors.CredentialsRefused):
            await get(place, url, "c")
        before = len(host.asked)
        await asyncio.gather(*(get(place, url, f"job{at}", auth=RIGHT) for at in range(5)))
        await get(place, url, "later", auth=RIGHT)
    assert len(host.asked) == before + 1
    assert len(place.told("file_downloaded")) == 0


async def test_a_verdict_holds_no_longer_than_its_time(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY, authorization="Bearer right-s3cret")
    async with caching(tmp_path, auth_recheck_s=0) as place:
        await get(place, url, "a", auth=RIGHT)
        host.served["/m.safetensors"].authorization = "Bearer changed"
        with pytest.raises(errors.CredentialsRefused):
            await get(place, url, "a", auth=RIGHT)


async def test_a_source_that_cannot_be_asked_is_no_refusal(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.safetensors", BODY, authorization="Bearer right-s3cret")
    async with caching(tmp_path) as place:
        await get(place, url, "a", auth=RIGHT)
        host.served["/m.safetensors"].status = 500
        with pytest.raises(errors.ModelNotFetched, match="answered 500"):
            await get(place, url, "b", auth=WRONG)


async def test_who_joins_a_private_fetch_without_credentials_is_refused(
    host: Host, tmp_path: Path
) -> None:
    url = host.on("/m.safetensors", BODY, authorization="Bearer right-s3cret", held_at=1000)
    async with caching(tmp_path) as place:
        first = asyncio.create_task(get(place, url, "a", auth=RIGHT))
        await wait_until(lambda: host.sent, description="bytes come")
        second = asyncio.create_task(get(place, url, "b"))
        host.served["/m.safetensors"].gate.set()
        await first
        with pytest.raises(errors.CredentialsRefused):
            await second


# What others left


async def test_a_folder_of_another_sidecar_is_adopted_each_file_verified(
    host: Host, tmp_path: Path
) -> None:
    whole, cut, silent, torn = (
        host.on("/whole.safetensors", BODY),
        host.on("/cut.safetensors", BODY),
        host.on("/silent.pth", b"weights" * 1000),
        host.on("/torn.pth", b"weights" * 1000),
    )
    for url, body in {
        whole: BODY,
        cut: BODY[:-500],
        silent: b"weights" * 1000,
        torn: b"weights" * 900,
    }.items():
        (tmp_path / f"{names.stem(url)}{Path(url).suffix}").write_bytes(body)
    async with caching(tmp_path) as place:
        found = [await get(place, url) for url in (whole, cut, silent, torn)]
        bodies = [one.path.read_bytes() for one in found]
        fetched = [data["url"] for data in place.told("file_downloaded")]

    assert bodies == [BODY, BODY, b"weights" * 1000, b"weights" * 1000]
    assert fetched == [cut, torn]


async def test_an_adopted_file_that_only_its_source_could_prove(host: Host, tmp_path: Path) -> None:
    url = host.on("/m.pth", b"weights", status=503)
    proven = host.on("/m.safetensors", BODY, status=503)
    (tmp_path / f"{names.stem(url)}.pth").write_bytes(b"weights")
    (tmp_path / f"{names.stem(proven)}.safetensors").write_bytes(BODY)
    async with caching(tmp_path) as place:
        with pytest.raises(errors.ModelNotFetched, match="answered 503") as caught:
            await get(place, url)
        assert (await get(place, proven)).size == len(BODY)

    assert "only its source could tell" in (caught.value.hint or "")


async def test_a_private_adopted_file_is_given_to_nobody_unasked(
    host: Host, tmp_path: Path
) -> None:
    url = host.on("/m.safetensors", BODY, authorization="Bearer right-s3cret")
    (tmp_path / f"{names.stem(url)}.safetensors").write_bytes(BODY)
    async with caching(tmp_path) as place:
        with pytest.raises(errors.CredentialsRefused):
            await get(place, url)
        await get(place, url, auth=RIGHT)
        with pytest.raises(errors.CredentialsRefused):
            await get(place, url)
    assert host.whole("/m.safetensors") == len([one for one in host.asked if one[0] == "GET"])
    assert not place.told("file_downloaded")


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
            lambda: journal.exists() and host.sent >= 20 * MB, description="most of it is here"
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


async def test_a_lowered_limit_is_kept_from_the_start(host: Host, tmp_path: Path) -> None:
    urls = [host.on(f"/{at}.safetensors", safetensors(MB, at)) for at in range(3)]
    async with caching(tmp_path) as place:
        for url in urls:
            await get(place, url)
    async with caching(tmp_path, MB) as place:
        assert [name[:32] for name in place.files()] == [names.stem(urls[2])]


# Failures of the disk and of the host


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


def arrived(path: Path) -> Arrival:
    return Arrival(
        path=path,
        size=len(BODY),
        head=BODY[:100],
        content_type=None,
        filename=None,
        sha256=None,
        version=None,
    )


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
        return arrived(path)


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


class Resumed:
    """A downloader that finds the whole part of an earlier run, and asks nobody."""

    async def run(self, order: Order) -> Arrival:
        path = order.folder / f"{order.stem}.part"
        await order.reserve(len(BODY))
        if order.auth is not None:
            path.write_bytes(BODY)
            await asyncio.Event().wait()
        return arrived(path)


async def test_a_part_that_came_with_credentials_is_given_to_nobody_unasked(
    host: Host, tmp_path: Path
) -> None:
    url = host.on("/m.safetensors", BODY, authorization="Bearer right-s3cret")
    async with Providers.open(settings(tmp_path)) as providers:
        async with Cache.open(settings(tmp_path), Resumed(), providers, lambda *_: None) as cache:
            task = asyncio.create_task(cache.get(Wanted(url, RIGHT), "a"))
            part = tmp_path / ".partial" / f"{names.stem(url)}.part"
            await wait_until(part.exists, description="all of it is here")
            task.cancel()
            await asyncio.wait({task})
        async with Cache.open(settings(tmp_path), Resumed(), providers, lambda *_: None) as cache:
            with pytest.raises(errors.CredentialsRefused):
                await cache.get(Wanted(url), "b")


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


async def test_verify_folder_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 32}.safetensors").write_bytes(BODY)
    (tmp_path / f"{'b' * 32}.safetensors").write_bytes(BODY[:-1])
    (tmp_path / "links").mkdir()
    (tmp_path / "README").write_bytes(b"")

    found = {name[0]: (is_whole, reason) for name, is_whole, reason in verify_folder(tmp_path)}

    assert found["a"] == (True, "")
    assert found["b"][0] is False
    assert "as the header has it" in found["b"][1]
    assert len(found) == 2
