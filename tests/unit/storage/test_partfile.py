"""Files that get their name only when they are whole."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.storage import partfile
from gateway.storage.partfile import PartFile, remove_leftovers


async def test_a_kept_file_is_whole_and_alone(tmp_path: Path) -> None:
    async with PartFile(tmp_path / "deep") as part:
        for _ in range(5):
            await part.add(b"x" * 700_000)
        assert part.size == 3_500_000
        await asyncio.to_thread(part.keep, tmp_path / "deep" / "final")

    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["final"]
    assert (tmp_path / "deep" / "final").stat().st_size == 3_500_000


async def test_an_empty_file_can_be_kept(tmp_path: Path) -> None:
    async with PartFile(tmp_path) as part:
        part.keep(tmp_path / "final")

    assert (tmp_path / "final").read_bytes() == b""


async def test_a_file_that_is_not_kept_is_gone(tmp_path: Path) -> None:
    async with PartFile(tmp_path) as part:
        await part.add(b"x" * partfile.CHUNK_BYTES)
        assert part.path.stat().st_size == partfile.CHUNK_BYTES

    assert list(tmp_path.iterdir()) == []


async def test_beginning_again_forgets_every_byte(tmp_path: Path) -> None:
    async with PartFile(tmp_path) as part:
        await part.add(b"a" * partfile.CHUNK_BYTES)
        await part.add(b"b")
        await part.restart()
        await part.add(b"c")
        assert part.size == 1
        part.keep(tmp_path / "final")

    assert (tmp_path / "final").read_bytes() == b"c"


async def test_a_cancel_leaves_nothing_behind(tmp_path: Path) -> None:
    async def write() -> None:
        async with PartFile(tmp_path) as part:
            while True:
                await part.add(b"x" * partfile.CHUNK_BYTES)

    for _ in range(10):
        task = asyncio.create_task(write())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert list(tmp_path.iterdir()) == []


def test_only_old_parts_of_ours_are_leftovers(tmp_path: Path) -> None:
    now = 1_000_000.0
    names = {
        ".fetch-" + "a" * 32 + ".part": 601,
        ".fetch-" + "b" * 32 + ".part": 599,
        ".fetch-mine.part": 10_000,
        "photo.png": 10_000,
    }
    for name, age in names.items():
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (now - age, now - age))
    (tmp_path / (".fetch-" + "c" * 32 + ".part")).mkdir()
    os.utime(tmp_path / (".fetch-" + "c" * 32 + ".part"), (0, 0))

    removed = remove_leftovers(tmp_path, now)

    assert {path.name[7] for path in removed} == {"a", "c"}
    assert len(list(tmp_path.iterdir())) == 3
