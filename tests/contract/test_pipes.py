"""Reading what programs write into pipes, on the loop that the gateway runs on."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
import uvloop

from gateway import pipes

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


async def read(*texts: bytes, most: int = 100) -> list[bytes]:
    ours, theirs = os.pipe()
    for text in texts:
        os.write(theirs, text)
    os.close(theirs)
    async with aclosing(pipes.written(os.fdopen(ours, "rb", buffering=0), most)) as found:
        return [data async for data in found]


@pytest.mark.parametrize("new_loop", LOOPS)
def test_everything_up_to_the_end(new_loop) -> None:
    async def run() -> None:
        ours, theirs = os.pipe()
        pipe = os.fdopen(ours, "rb", buffering=0)
        found: list[bytes] = []
        async with aclosing(pipes.written(pipe, 4)) as stream:
            os.write(theirs, b"abcdef")
            async for data in stream:
                found.append(data)
                if data == b"ef":
                    asyncio.get_running_loop().call_later(0.05, os.write, theirs, b"late")
                elif data == b"late":
                    os.close(theirs)
        assert found == [b"abcd", b"ef", b"late"]
        assert pipe.closed

    with asyncio.Runner(loop_factory=new_loop) as loop:
        loop.run(run())


@contextmanager
def opening_files(failures: list[OSError]) -> Iterator[None]:
    """Open files in threads all the while."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            try:
                Path(__file__).read_bytes()
            except OSError as failure:
                failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_the_end_closes_no_file_of_a_thread(new_loop) -> None:
    failures: list[OSError] = []

    async def run() -> None:
        for _ in range(3000):
            assert await read(b"x") == [b"x"]

    with opening_files(failures), asyncio.Runner(loop_factory=new_loop) as loop:
        loop.run(run())
    assert failures == []
