"""The one contract that every storage keeps, each in front of a real server."""

from __future__ import annotations

import hashlib
import random
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from gateway.schemas import Auth
from gateway.storage.failures import MISMATCH, TransferFailed
from gateway.storage.provider import Span
from tests.waiting import wait_until

from .storages import SECRET, Storage

BODY = bytes(random.Random(1).randbytes(300_000))
OTHER = bytes(reversed(BODY))
NAMES = ["a b.png", "50%.png", "a%20b.png", "ü/日本.png", "a+b&c=d;e.png", "quo'te[1].png"]
_WRITABLE = "it is read only"


@pytest.fixture
def name() -> str:
    """A file of this test's own."""
    return f"{uuid.uuid4().hex}.bin"


@pytest.fixture
def local(tmp_path: Path) -> Callable[[bytes], Path]:
    def made(body: bytes) -> Path:
        path = tmp_path / "local"
        path.write_bytes(body)
        return path

    return made


@pytest.fixture
def plant(storage: Storage, local: Callable[[bytes], Path]) -> Callable:  # type: ignore[type-arg]
    async def planted(name: str, body: bytes = BODY, kind: str = "image/png") -> str:
        if storage.plant is not None:
            await storage.plant(name, body, kind)
        else:
            await storage.provider.write(storage.url(name), storage.auth, local(body), kind)
        return storage.url(name)

    return planted


async def read(
    storage: Storage, url: str, span: Span | None = None, auth: Auth | None = None
) -> tuple[int, bytes]:
    async with storage.provider.read(url, auth or storage.auth, span or Span()) as reply:
        return reply.start, b"".join([chunk async for chunk in reply.chunks()])


async def read_or_mismatch(storage: Storage, url: str, span: Span) -> tuple[int, bytes | None]:
    try:
        return await read(storage, url, span)
    except TransferFailed as failure:
        if failure.verdict == MISMATCH:
            return 0, None
        raise


async def test_it_tells_of_a_file(storage: Storage, plant, name) -> None:
    url = await plant(name)
    storage.provider.check(url)
    found = await storage.provider.stat(url, storage.auth)

    assert found.size == len(BODY)
    assert found.version
    assert found.sha256 in (None, hashlib.sha256(BODY).hexdigest())
    assert found.is_ranged is storage.is_ranged
    assert (await storage.provider.stat(url, storage.auth)).version == found.version


async def test_it_reads_the_whole(storage: Storage, plant, name) -> None:
    url = await plant(name)
    async with storage.provider.read(url, storage.auth) as reply:
        assert reply.start == 0
        assert reply.stat.size == len(BODY)
        chunks = [chunk async for chunk in reply.chunks()]

    assert b"".join(chunks) == BODY
    assert max(map(len, chunks)) <= 1 << 20


@pytest.mark.parametrize(("start", "end"), [(100_000, None), (100_000, 200_000), (0, 10)])
async def test_it_reads_a_part(storage: Storage, plant, name, start: int, end: int | None) -> None:
    url = await plant(name)
    version = (await storage.provider.stat(url, storage.auth)).version
    for span in (Span(start, end), Span(start, end, version)):
        begun, body = await read(storage, url, span)
        if storage.is_ranged:
            assert (begun, body) == (start, BODY[start:end])
        else:
            assert (begun, body) == (0, BODY)


async def test_a_part_of_another_version_is_never_given(storage: Storage, plant, name) -> None:
    url = await plant(name)
    before = await storage.provider.stat(url, storage.auth)
    await plant(name, OTHER + b"more")
    after = await storage.provider.stat(url, storage.auth)

    assert before.version != after.version
    span = Span(100_000, None, before.version)
    begun, body = await read_or_mismatch(storage, url, span)
    whole, old = (0, OTHER + b"more"), (100_000, BODY[100_000:])
    assert body is None or (begun, body) in (whole, old)


async def test_a_part_past_the_end_is_a_mismatch(storage: Storage, plant, name) -> None:
    url = await plant(name)
    if not storage.is_ranged:
        pytest.skip("it knows no parts")
    with pytest.raises(TransferFailed) as failure:
        await read(storage, url, Span(len(BODY) + 5, None))

    assert failure.value.verdict == MISMATCH


async def test_an_empty_file(storage: Storage, plant, name) -> None:
    url = await plant(name, b"")

    assert (await storage.provider.stat(url, storage.auth)).size == 0
    assert await read(storage, url) == (0, b"")


@pytest.mark.parametrize("kind", NAMES)
async def test_any_name(storage: Storage, plant, name, kind: str) -> None:
    folder = name.partition(".")[0]
    url = await plant(f"{folder}/{kind}", kind.encode())
    storage.provider.check(url)

    assert await read(storage, url) == (0, kind.encode())


async def test_it_writes_with_the_type_and_over_what_was_there(
    storage: Storage, local, name
) -> None:
    if not storage.is_writable:
        pytest.skip(_WRITABLE)
    url, provider = storage.url(name), storage.provider
    for body, kind in ((BODY, "image/png"), (OTHER, "video/mp4")):
        await provider.write(url, storage.auth, local(body), kind)
        found = await provider.stat(url, storage.auth)

        assert (await read(storage, url))[1] == body
        assert found.content_type == kind or not storage.keeps_type


async def test_a_large_file_is_written_in_parts(storage: Storage, local, name) -> None:
    if not storage.is_writable:
        pytest.skip(_WRITABLE)
    body = random.Random(2).randbytes(20 << 20)
    url = storage.url(name)
    await storage.provider.write(url, storage.auth, local(body), "video/mp4")

    assert (await storage.provider.stat(url, storage.auth)).size == len(body)
    assert hashlib.sha256((await read(storage, url))[1]).digest() == hashlib.sha256(body).digest()


async def test_a_local_file_that_is_missing_is_not_the_storage_s_fault(
    storage: Storage, tmp_path: Path, name
) -> None:
    if not storage.is_writable:
        pytest.skip(_WRITABLE)
    with pytest.raises(FileNotFoundError):
        await storage.provider.write(storage.url(name), storage.auth, tmp_path / "gone", "a/b")


async def test_a_missing_file(storage: Storage, name) -> None:
    url = storage.url(name)
    for asked in (lambda: storage.provider.stat(url, storage.auth), lambda: read(storage, url)):
        failure = await refused(asked)

        assert failure.verdict.fault == "url"
        assert not failure.verdict.retryable
        assert "no such file" in failure.verdict.reason


async def test_a_missing_bucket(storage: Storage, local) -> None:
    if storage.nowhere is None:
        pytest.skip("it has no buckets")
    provider, url = storage.provider, storage.nowhere
    asked = [lambda: provider.stat(url, storage.auth), lambda: read(storage, url)]
    if storage.is_writable:
        asked.append(lambda: provider.write(url, storage.auth, local(BODY), "image/png"))
    for each in asked:
        verdict = (await refused(each)).verdict

        assert verdict.fault == "url"
        assert not verdict.retryable
        assert storage.nowhere_told in f"{verdict.reason} {verdict.hint}"


async def test_wrong_credentials(storage: Storage, plant, local, name) -> None:
    if storage.wrong is None:
        pytest.skip("it takes no credentials")
    url, provider = await plant(name), storage.provider
    asked = [
        lambda: provider.stat(url, storage.wrong),
        lambda: read(storage, url, auth=storage.wrong),
    ]
    if storage.is_writable:
        asked.append(lambda: provider.write(url, storage.wrong, local(BODY), "image/png"))
    for each in asked:
        verdict = (await refused(each)).verdict

        assert verdict.fault == "url"
        assert not verdict.retryable
        assert "credentials" in (verdict.hint or "").lower()
        assert verdict.is_refused


async def test_a_reader_that_leaves_leaves_nothing_open(storage: Storage, plant, name) -> None:
    url = await plant(name, random.Random(2).randbytes(20 << 20))
    before = await open_things()
    async with storage.provider.read(url, storage.auth) as reply:
        chunks = reply.chunks()
        assert await anext(chunks)
        await chunks.aclose()
    if hasattr(storage.provider, "close"):
        await storage.provider.close()
    await wait_until(lambda: left(before), description="nothing more is open than before")


async def open_things() -> int:
    own = psutil.Process()
    return len(own.open_files()) + len(
        [link for link in own.net_connections() if link.status == psutil.CONN_ESTABLISHED]
    )


async def left(before: int) -> bool:
    return await open_things() <= before


async def refused(asked: Callable[[], Awaitable[object]]) -> TransferFailed:
    """Return how it failed; nothing that a log may hold tells the secret."""
    with pytest.raises(TransferFailed) as found:
        await asked()
    failure = found.value
    told = failure.told("the URL", None)
    texts = [str(told), str(told.to_dict()), "".join(traceback.format_exception(failure))]

    assert not any(SECRET in text for text in texts)
    return failure
