"""Files that a thread opens."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.opening import opened
from tests.waiting import wait_until


async def test_the_file_is_open_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"what it says")
    async with opened(partial(path.open, "rb")) as file:
        assert file.read() == b"what it says"
    assert file.closed


async def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with opened(partial((tmp_path / "none").open, "rb")):
            pass


@pytest.mark.parametrize("is_there", [True, False])
async def test_who_goes_away_while_it_opens_leaves_nothing_open(
    tmp_path: Path, is_there: bool
) -> None:
    path = tmp_path / "a"
    if is_there:
        path.touch()
    begun, may_open, over = threading.Event(), threading.Event(), threading.Event()
    held: list[BinaryIO] = []

    def slowly() -> BinaryIO:
        begun.set()
        may_open.wait(10)
        try:
            held.append(path.open("rb"))
        finally:
            over.set()
        return held[0]

    async def use() -> None:
        async with opened(slowly):
            raise AssertionError("it was cancelled before")

    using = asyncio.create_task(use())
    await wait_until(begun.is_set, description="the thread opens it")
    using.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await using
    may_open.set()
    await wait_until(over.is_set, description="the thread is done")
    await wait_until(lambda: all(file.closed for file in held), description="it is closed")
    assert bool(held) is is_there
