"""HTTP as a storage: what it says of a file, parts of it, and uploads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.schemas import BearerAuth
from gateway.storage.failures import MISMATCH, TransferFailed
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider, Timeouts
from gateway.storage.provider import Span, Stat
from tests.hosts import (
    OK,
    Answer,
    Asked,
    Host,
    partial,
    ranged,
    redirect,
    running,
    says,
)

BODY = bytes(range(256)) * 4096  # 1 MiB
BEARER = BearerAuth(type="bearer", token="secret")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


@contextlib.asynccontextmanager
async def opened(*allow: str, **how: Any) -> AsyncIterator[HttpProvider]:
    guard = NetworkGuard(allow or ("127.0.0.0/8", "localhost"))
    how = {"proxies": {}, "timeouts": Timeouts(connect=1.0, stall=0.3), **how}
    async with HttpProvider(guard, **how).open() as provider:
        yield provider


HEAD = {
    "Content_Length": 77,
    "ETag": '"1"',
    "Content_Type": "model/x",
    "Content_Disposition": 'attachment; filename="a b.bin"',
}


async def test_a_stat_is_a_head(host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 302 Found", Location="/y"))
    host.on("/y", says(OK, **HEAD))

    async with opened() as provider:
        stat = await provider.stat(url, BEARER)

    assert stat == Stat(77, '"1"', "model/x", "a b.bin", is_ranged=True)
    assert [asked.method for asked in host.asked] == ["HEAD", "HEAD"]
    assert host.asked[1].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("status", [403, 405, 501])
async def test_where_a_head_is_refused_a_byte_is_asked_for(host: Host, status: int) -> None:
    head = says(f"HTTP/1.1 {status} No")
    url = host.on("/x", head, partial(BODY))
    ignoring = host.on("/y", head, says(OK, BODY, ETag='"2"'))
    empty = host.on("/z", head, says("HTTP/1.1 416 No"), says(OK, b""))

    async with opened() as provider:
        found = [await provider.stat(each, None) for each in (url, ignoring, empty)]

    assert [(stat.size, stat.version) for stat in found] == [
        (len(BODY), '"1"'),
        (len(BODY), '"2"'),
        (0, None),
    ]
    assert host.asked[1].headers["range"] == "bytes=0-0"


async def test_a_stat_of_what_is_not_there(host: Host) -> None:
    url = host.on("/x", says("HTTP/1.1 404 No"))
    refused_twice = host.on("/y", says("HTTP/1.1 403 No"))

    async with opened() as provider:
        with pytest.raises(TransferFailed, match="404"):
            await provider.stat(url, None)
        with pytest.raises(TransferFailed, match="403") as caught:
            await provider.stat(refused_twice, None)

    assert caught.value.verdict.is_refused


async def test_a_part_is_what_was_asked_for(host: Host) -> None:
    url = host.on("/x", ranged(BODY))

    async with opened() as provider, provider.read(url, None, Span(10, 30, '"1"')) as reply:
        assert b"".join([chunk async for chunk in reply.chunks()]) == BODY[10:30]

    assert (reply.start, reply.stat.size) == (10, len(BODY))


async def test_a_part_that_reaches_too_far_is_none(host: Host) -> None:
    url = host.on("/x", partial(BODY))

    async with opened() as provider:
        with pytest.raises(TransferFailed) as caught:
            async with provider.read(url, None, Span(10, 30)):
                pass

    assert caught.value.verdict == MISMATCH


def after_body(answer: Answer) -> Answer:
    """Answer when the body has come: whoever hangs up sooner may be heard of as a broken line."""

    async def heard(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asked.body()
        await answer(asked, writer)

    return heard


class Taking:
    """A host that keeps what is put."""

    def __init__(self, status: int = 201) -> None:
        self.body = b""
        self.status = status

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.body = await asked.body()
        await says(f"HTTP/1.1 {self.status} Told", b"")(asked, writer)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(BODY)
    return path


async def test_an_upload_arrives(host: Host, source: Path) -> None:
    taking = Taking()
    url = host.on("/x", taking)

    async with opened() as provider:
        await provider.write(f"{url}?a=%2F", BEARER, source, "image/png")

    (asked,) = host.asked
    assert (asked.method, asked.target) == ("PUT", "/x?a=%2F")
    assert taking.body == BODY
    assert asked.headers["content-type"] == "image/png"
    assert asked.headers["content-length"] == str(len(BODY))
    assert asked.headers["authorization"] == "Bearer secret"
    assert "transfer-encoding" not in asked.headers


async def test_an_empty_file_can_be_uploaded(host: Host, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    url = host.on("/x", Taking())

    async with opened() as provider:
        await provider.write(url, None, tmp_path / "empty", "text/plain")

    assert host.asked[0].headers["content-length"] == "0"


@pytest.mark.parametrize("status", [307, 308])
async def test_an_upload_is_sent_on_without_its_secrets(
    host: Host, source: Path, status: int
) -> None:
    taking = Taking()
    url = host.on("/x", after_body(redirect("/y", status)))
    host.on("/y", after_body(redirect(host.url("/z", "localhost"), status)))
    host.on("/z", taking)

    async with opened() as provider:
        await provider.write(url, BEARER, source, "image/png")

    assert taking.body == BODY
    assert ["authorization" in asked.headers for asked in host.asked] == [True, True, False]


@pytest.mark.parametrize(
    ("status", "said", "retryable"),
    [
        (303, "takes no upload", False),
        (302, "takes no upload", False),
        (400, "400", False),
        (401, "refuses the upload", False),
        (403, "refuses the upload", False),
        (404, "takes no upload", False),
        (429, "429", True),
        (503, "503", True),
    ],
)
async def test_an_upload_that_is_refused(
    host: Host, source: Path, status: int, said: str, retryable: bool
) -> None:
    url = host.on("/x", Taking(status))

    async with opened() as provider:
        with pytest.raises(TransferFailed, match=said) as caught:
            await provider.write(url, None, source, "image/png")

    assert caught.value.verdict.retryable is retryable


async def test_an_upload_that_is_refused_at_once(host: Host, source: Path) -> None:
    source.write_bytes(bytes(8 << 20))
    url = host.on("/x", says("HTTP/1.1 403 No", Connection="close"))

    async with opened() as provider:
        with pytest.raises(TransferFailed):
            await provider.write(url, None, source, "image/png")


async def test_a_host_that_takes_nothing_is_given_up(host: Host, source: Path) -> None:
    over = asyncio.Event()

    async def takes_nothing(_: Asked, __: asyncio.StreamWriter) -> None:
        await over.wait()

    source.write_bytes(bytes(32 << 20))

    async with opened(timeouts=Timeouts(upload=0.3)) as provider:
        with pytest.raises(TransferFailed, match="too long"):
            await provider.write(host.on("/x", takes_nothing), None, source, "image/png")
    over.set()


async def test_a_slow_upload_is_no_silence(host: Host, source: Path) -> None:
    async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
        assert asked.read is not None
        for _ in range(10):
            await asked.read(100 << 10)
            await asyncio.sleep(0.1)
        await says("HTTP/1.1 200 Fine")(asked, writer)

    source.write_bytes(bytes(1000 << 10))

    async with opened(timeouts=Timeouts(stall=0.2)) as provider:
        await provider.write(host.on("/x", slowly), None, source, "image/png")


async def test_an_upload_stays_under_the_guard(host: Host, source: Path) -> None:
    url = host.on("/x", redirect("http://169.254.169.254/x", 307))

    async with opened() as provider:
        with pytest.raises(TransferFailed, match="public internet"):
            await provider.write(url, None, source, "image/png")
