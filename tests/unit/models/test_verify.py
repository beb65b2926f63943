"""Whole files pass, and no part of one does."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import struct
import time
import zipfile
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.models import safetensors_header, verify
from gateway.models.verify import Flaw
from tests.waiting import wait_until
from tests.weights import safetensors

WHOLE = safetensors(1000)


def tensors(header: object, data: int = 0) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as found:
        found.writestr("archive/data.pkl", b"x" * 500)
    return buffer.getvalue()


def check(folder: Path, body: bytes, suffix: str = ".safetensors", **expected: object) -> bool:
    path = folder / f"file{suffix}"
    path.write_bytes(body)
    return verify.check(path, suffix, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "body", "is_proven"),
    [
        (".safetensors", WHOLE, True),
        (".SAFETENSORS", WHOLE, True),
        (".safetensors", tensors({}), True),
        (".safetensors", tensors({"__metadata__": {"a": "b"}}), True),
        (
            ".safetensors",
            tensors({"b": {"data_offsets": [4, 4]}, "a": {"data_offsets": [0, 4]}}, 4),
            True,
        ),
        (".ckpt", archive(), True),
        (".ckpt", b"\x80\x02 an old pickle", False),
        (".gguf", b"GGUF and more", False),
        (".yaml", b"model: {}", False),
        (".json", b'{"a": 1}', False),
        (".html", b"<html>", False),
        ("", b"", False),
    ],
)
def test_whole_files(tmp_path: Path, suffix: str, body: bytes, is_proven: bool) -> None:
    assert check(tmp_path, body, suffix) is is_proven


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "an empty file"),
        (b"1234567", "no length of a header"),
        (struct.pack("<Q", verify.HEADER_LIMIT + 1) + bytes(100), "no length of a header"),
        (tensors(["a"]), "a header that is a list"),
        (tensors({"a": 1}), "none that can be"),
        (tensors({"a": {"data_offsets": [0]}}), "none that can be"),
        (tensors({"a": {"data_offsets": [4, 0]}}, 4), "none that can be"),
        (tensors({"a": {"data_offsets": [-1, 4]}}, 4), "none that can be"),
        (tensors({"a": {"data_offsets": [0.0, 4]}}, 4), "none that can be"),
        (tensors({"a": {"data_offsets": [1, 4]}}, 4), "it at byte 1"),
        (
            tensors({"a": {"data_offsets": [0, 4]}, "b": {"data_offsets": [2, 6]}}, 6),
            "it at byte 2",
        ),
        (tensors({"a": {"data_offsets": [0, 4]}}, 5), "bytes"),
    ],
)
def test_broken_safetensors(tmp_path: Path, body: bytes, found: str) -> None:
    with pytest.raises(Flaw) as caught:
        check(tmp_path, body)

    assert found in caught.value.found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=20))
def test_no_cut_or_grown_safetensors_passes(tmp_path: Path, cut: int, more: bytes) -> None:
    for body in (WHOLE[:cut], WHOLE + more if more else WHOLE[:-1]):
        with pytest.raises(Flaw):
            check(tmp_path, body)


@pytest.mark.parametrize("cut", [1, 21, 22, 100, 500])
def test_no_cut_archive_passes(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Flaw, match="cut short"):
        check(tmp_path, archive()[:-cut], ".pt")


def test_comments_that_lead_to_no_page_cost_no_time(tmp_path: Path) -> None:
    began = time.process_time()
    check(tmp_path, b"<!---->" * 25 + b" " * 3000 + b"x", ".pt")

    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pt", ".gguf", "", ".yaml"])
def test_a_web_page_is_no_model(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Flaw, match="a web page") as caught:
        check(tmp_path, b"\xef\xbb\xbf <!-- x --> <!doctype HTML><title>Log in</title>", suffix)

    assert "login" in (caught.value.hint or "")


def test_what_was_told_is_compared(tmp_path: Path) -> None:
    check(tmp_path, b"x", ".bin")
    digest = verify.sha256_of(tmp_path / "file.bin")

    assert check(tmp_path, b"x", ".bin", size=1, sha256=digest.upper())
    with pytest.raises(Flaw, match="expected 2 bytes, found 1 bytes"):
        check(tmp_path, b"x", ".bin", size=2)
    with pytest.raises(Flaw, match=f"found sha256 {digest}"):
        check(tmp_path, b"x", ".bin", sha256="0" * 64)


@pytest.mark.parametrize(
    ("head", "suffix"), [(WHOLE, ".safetensors"), (b"GGUF", ".gguf"), (b"PK", ""), (b"", "")]
)
def test_what_the_first_bytes_say(head: bytes, suffix: str) -> None:
    assert verify.sniffed(head) == suffix


async def test_what_hashes_for_long_keeps_no_other_work_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Each thread waits for somebody to write.
    hashing = [asyncio.create_task(verify.hashed(pipe)) for _ in range(64)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            assert (await asyncio.to_thread(os.stat, pipe)).st_size == 0
    finally:
        for task in hashing:
            task.cancel()
        await asyncio.gather(*hashing, return_exceptions=True)
        os.close(os.open(pipe, os.O_RDWR))


async def test_a_hash_that_nobody_waits_for_any_more_ends(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    small.write_bytes(b"")
    with large.open("wb") as file:
        file.truncate(1 << 40)
    hashing = [asyncio.create_task(verify.checked(large, "", None, "0")) for _ in range(8)]
    await asyncio.wait(hashing, timeout=0.1)
    for task in hashing:
        task.cancel()
    async with asyncio.timeout(5):
        assert await verify.hashed(small) == hashlib.sha256().hexdigest()


def large(count: int) -> dict[str, object]:
    """Return a header that is parsed in a process of its own."""
    return {
        f"model.diffusion_model.{at}.weight": {"data_offsets": [at, at + 1]} for at in range(count)
    }


def test_a_large_header_is_judged_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_header, "LARGE", 1)
    header: dict[str, object] = {"a": {"data_offsets": [0, 7]}}
    assert check(tmp_path, tensors(header, 7))
    for bad, found in (
        (tensors(header, 6), "as the header has it"),
        (tensors({**header, "hole": {"data_offsets": [8, 9]}}, 9), "'hole' at byte 7 of the data"),
        (struct.pack("<Q", 4) + b"{xx}", "cannot be read"),
    ):
        with pytest.raises(Flaw, match=found):
            check(tmp_path, bad)


async def test_a_large_header_is_parsed_apart_while_anybody_waits(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(tensors(large(200_000), 200_000))
    task = asyncio.create_task(verify.checked(path, ".safetensors"))
    # Servers of other tests may be children of this process, too.
    others = set(psutil.Process().children())

    def children() -> set[psutil.Process]:
        return set(psutil.Process().children()) - others

    await wait_until(lambda: children() or task.done(), description="it is being parsed")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until(lambda: not children(), description="the program has ended")
