"""Bytes in any order, and what outlives a kill."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.storage import journal
from gateway.storage.partial import PartialFile, discard
from gateway.storage.provider import Stat
from gateway.storage.spans import Spans

STAT = Stat(20 << 20, '"1"', "model/x", "x.bin", "ab" * 32, is_ranged=True)
URL = "http://host/x"


class Gated(ThreadPoolExecutor):
    """Threads that wait at the gate that stood open, or not, when their work was given."""

    def __init__(self) -> None:
        super().__init__(4)
        self.may_work = threading.Event()
        self.may_work.set()

    def submit(self, work: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        may_work = self.may_work

        def gated() -> Any:
            may_work.wait()
            return work(*args, **named)

        return super().submit(gated)


async def test_what_is_noted_is_known_again(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        file = PartialFile(tmp_path, "x", URL, threads)
        assert await file.open() is None
        await file.restart(STAT)
        spans = Spans(STAT.size, [(0, 5 << 20)])
        await file.write(0, [b"a" * (5 << 20)])
        await file.note(spans)
        # As after a kill: nothing is closed.
        again = PartialFile(tmp_path, "x", URL, threads)
        found = await again.open()
        other = PartialFile(tmp_path, "x", "http://host/other", threads)
        assert await other.open() is None
        for each in (file, again, other):
            await each.close()

    assert found is not None
    assert found.stat == STAT
    assert found.here(journal.boot_id()) == [(0, 5 << 20)]
    assert found.here("another boot") == []


async def test_a_thread_that_is_left_behind_writes_into_no_new_file(tmp_path: Path) -> None:
    with Gated() as threads:
        file = PartialFile(tmp_path, "x", URL, threads)
        await file.open()
        await file.restart(STAT)
        is_open, gate = threads.may_work, threading.Event()
        threads.may_work = gate
        old = asyncio.create_task(file.write(0, [b"old"]))
        await asyncio.sleep(0)
        threads.may_work = is_open
        old.cancel()
        with pytest.raises(asyncio.CancelledError):
            await old
        again = asyncio.create_task(file.restart(STAT))
        await asyncio.sleep(0.05)
        assert not again.done()
        gate.set()
        await again
        await file.write(0, [b"n"])
        assert (tmp_path / "x.part").read_bytes() == b"n"
        await file.close()


async def test_who_was_followed_leaves_the_file_of_the_next_one_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        old, new = (PartialFile(tmp_path, "x", URL, threads) for _ in range(2))
        spans = Spans(STAT.size, [(0, 5 << 20)])
        await old.open()
        await old.restart(STAT)
        discard(tmp_path, "x")
        await old.note(spans)
        assert not list(tmp_path.iterdir())
        await new.open()
        await new.restart(STAT)
        await old.write(0, [b"a" * (5 << 20)])
        await old.finish([(0, 5 << 20)])
        await old.close()
        assert (tmp_path / "x.part").stat().st_size == 0
        assert not (tmp_path / "x.json").exists()
        await new.close()


async def test_a_whole_file_is_synced_and_discarded(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        file = PartialFile(tmp_path, "x", URL, threads)
        await file.open()
        await file.restart(Stat(3, '"1"'))
        await file.write(1, [b"b", b"c"])
        await file.write(0, [b"a"])
        head = await file.finish([(0, 3)])
        await file.close()

    found = journal.load(tmp_path / "x.json")
    assert head == b"abc"
    assert found is not None
    assert found.here("another boot") == [(0, 3)]
    discard(tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


async def test_without_a_version_there_is_no_journal(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        file = PartialFile(tmp_path, "x", URL, threads)
        await file.open()
        await file.restart(Stat(3))
        await file.finish([(0, 3)])
        await file.close()

    assert [entry.name for entry in tmp_path.iterdir()] == ["x.part"]
