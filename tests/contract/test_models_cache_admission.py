"""What the cache serves: what is whole and proved, and private files to whom they are open."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest

from gateway import errors
from gateway.models import names
from gateway.models.cache import Cache, Cached, Wanted, verify_folder
from gateway.schemas import BearerAuth
from gateway.storage.download import Arrival, Order
from gateway.storage.providers import Providers
from tests.cache_stand import Host, arrived, caching, get, hosting, settings
from tests.waiting import wait_until
from tests.weights import safetensors

KB = 1 << 10
BODY = safetensors(64 * KB)
RIGHT = BearerAuth(type="bearer", token="right-s3cret")
WRONG = BearerAuth(type="bearer", token="wrong-s3cret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as found:
        yield found


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


class Resumed:
    """A downloader that finds the whole part of an earlier run, and asks nobody."""

    async def run(self, order: Order) -> Arrival:
        path = order.folder / f"{order.stem}.part"
        await order.reserve(len(BODY))
        if order.auth is not None:
            path.with_suffix(".json").write_bytes(b"{}")
            path.write_bytes(BODY)
            await asyncio.Event().wait()
        return arrived(path, BODY)


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
