"""One holder at a time among tasks, processes and hosts that share a folder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.storage import author as authors
from gateway.storage.author import Author
from gateway.storage.claim import ClaimShown, claim, claims, remove_stale
from gateway.storage.claimfile import create, end, make, over_of, read, written
from gateway.storage.failures import ClaimLost
from tests.waiting import wait_until

#: Holds the name until told to go on by a line; says what it found.
HOLDER = """
import asyncio, sys
from pathlib import Path
from gateway.storage.author import Author
from gateway.storage.claim import claim

async def main():
    folder, host, lease_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    author = Author(host, 1, "0") if host else None
    async with claim(folder, "x", 100, lease_s=lease_s, author=author) as held:
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(await held.is_mine(), flush=True)

asyncio.run(main())
"""

#: Adds one to a number, ten times; without exclusion some are lost.
COUNTER = """
import asyncio, sys
from pathlib import Path
from gateway.storage.claim import claim

async def main():
    folder = Path(sys.argv[1])
    number = folder / "number"
    for _ in range(10):
        async with claim(folder, "x"):
            read = int(number.read_text())
            await asyncio.sleep(0.001)
            number.write_text(str(read + 1))

asyncio.run(main())
"""

#: Takes the name and gives it up, as often as it can.
RESTLESS = """
import asyncio, sys
from pathlib import Path
from gateway.storage.claim import claim

async def main():
    print("ready", flush=True)
    while True:
        async with claim(Path(sys.argv[1]), "x"):
            pass

asyncio.run(main())
"""

ELSEWHERE = Author("another host", 1, "0")


class Child:
    """A process that holds, or wants, the claim of `x`."""

    def __init__(self, folder: Path, *, host: str = "", lease_s: float = 30) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), host, str(lease_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def line(self) -> str:
        """Return the next thing it says."""
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    def go_on(self) -> None:
        """Let it give the claim up."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """End it, whatever it does."""
        with self.process:
            self.process.kill()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as all_of_them:

        def start(**given: Any) -> Child:
            child = Child(tmp_path, **given)
            all_of_them.callback(child.close)
            return child

        yield start


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_second_task_waits_for_the_first(tmp_path: Path) -> None:
    order = []

    async def work(name: str) -> None:
        async with claim(tmp_path, "x") as held:
            order.append(f"{name} in")
            await asyncio.sleep(0.01)
            assert await held.is_mine()
            assert not held.is_lost
            order.append(f"{name} out")

    await asyncio.gather(*(work(name) for name in "abcd"))
    assert [entry[2:] for entry in order] == ["in", "out"] * 4
    assert names(tmp_path) == []


async def test_other_names_do_not_wait(tmp_path: Path) -> None:
    async with claim(tmp_path, "x"), claim(tmp_path, "y"):
        assert names(tmp_path) == ["x.claim", "y.claim"]
    await wait_until(
        lambda: all(thread.name != "claims" for thread in threading.enumerate()),
        description="nothing is touched any more",
    )


async def test_the_folder_is_made(tmp_path: Path) -> None:
    async with claim(tmp_path / "a" / "b", "x"):
        assert names(tmp_path / "a" / "b") == ["x.claim"]


async def test_eight_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", COUNTER, str(tmp_path))
        for _ in range(8)
    ]
    async with asyncio.timeout(50):
        codes = [await process.wait() for process in running]
    assert codes == [0] * 8
    assert (tmp_path / "number").read_text() == "80"
    assert names(tmp_path) == ["number"]


@pytest.mark.parametrize("is_reaped", [True, False])
async def test_a_killed_holder_is_followed_at_once(
    tmp_path: Path, children: Any, is_reaped: bool
) -> None:
    """Also one that nobody has waited for, as in a container without an init."""
    first = children()
    assert await first.line() == "held"
    second = children()
    first.process.send_signal(signal.SIGKILL)
    if is_reaped:
        first.process.wait()
    assert await second.line() == "held"
    second.go_on()
    assert await second.line() == "True"


async def test_a_number_that_another_process_has_now_is_no_holder(tmp_path: Path) -> None:
    mine = authors.own()
    assert mine.pid == os.getpid()
    other = psutil.Process().ppid()
    (tmp_path / "x.claim").write_bytes(
        b'{"token": "t", "host": "%s", "pid": %d, "started": "1", "reserved": 5}'
        % (mine.host.encode(), other)
    )
    assert claims(tmp_path) == [ClaimShown("x", 5, is_alive=False, is_mine=False)]
    async with asyncio.timeout(5), claim(tmp_path, "x") as held:
        assert await held.is_mine()


async def test_a_silent_holder_elsewhere_is_followed_after_the_lease(
    tmp_path: Path, children: Any
) -> None:
    first = children(host="another host", lease_s=0.6)
    assert await first.line() == "held"
    first.process.send_signal(signal.SIGSTOP)
    async with claim(tmp_path, "x", lease_s=0.6) as held:
        first.process.send_signal(signal.SIGCONT)
        first.go_on()
        assert await first.line() == "False"
        await asyncio.to_thread(first.process.wait)
        # What the first did when it gave up does not touch the second's claim.
        assert await held.is_mine()
        assert names(tmp_path) == ["x.claim"]


async def test_what_a_holder_wrote_that_may_wake_is_gone_with_its_claim(tmp_path: Path) -> None:
    part, noted = tmp_path / "x.part", tmp_path / "x.json"
    for author, is_kept in ((Author(authors.own().host, 1 << 22, "0"), True), (ELSEWHERE, False)):
        part.write_bytes(b"half")
        noted.write_bytes(b"{}")
        (tmp_path / "x.claim").write_bytes(written("a token", author, 0))
        async with claim(tmp_path, "x", lease_s=0.1):
            assert (part.exists(), noted.exists()) == (is_kept, is_kept)


async def test_who_has_lost_its_claim_writes_no_more(tmp_path: Path) -> None:
    async with claim(tmp_path, "x", lease_s=0.1) as held:
        held.check()
        end(tmp_path / "x.claim", held.token, 30)
        await wait_until(lambda: held.is_lost, description="the holder notices by itself")
        with pytest.raises(ClaimLost):
            held.check()


async def test_a_living_holder_elsewhere_is_waited_for(tmp_path: Path, children: Any) -> None:
    first = children(host="another host", lease_s=1)
    assert await first.line() == "held"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5), claim(tmp_path, "x", lease_s=1):
            pass
    first.go_on()
    assert await first.line() == "True"


async def test_a_holder_learns_that_it_was_followed(tmp_path: Path) -> None:
    async with claim(tmp_path, "x", lease_s=0.6) as held:
        found = read(tmp_path / "x.claim")
        assert found is not None
        end(tmp_path / "x.claim", found.token, 30)
        assert not await held.is_mine()
        await wait_until(lambda: held.is_lost, description="the holder notices by itself")
        # Its own old file takes this, and no one sees it.
        await held.reserve(7)
        assert names(tmp_path) == []


async def test_what_is_reserved_is_shown(tmp_path: Path) -> None:
    async with claim(tmp_path, "x", 5) as held, claim(tmp_path, "y", author=ELSEWHERE):
        assert [(shown.stem, shown.reserved) for shown in claims(tmp_path)] == [("x", 5), ("y", 0)]
        await held.reserve(123_456_789_012)
        shown = claims(tmp_path)[0]
        assert shown == ClaimShown("x", 123_456_789_012, is_alive=True, is_mine=True)
    assert claims(tmp_path) == []
    assert claims(tmp_path / "none") == []


async def test_a_killed_holders_room_is_shown_as_free(tmp_path: Path, children: Any) -> None:
    first = children()
    assert await first.line() == "held"
    assert claims(tmp_path) == [ClaimShown("x", 100, is_alive=True, is_mine=False)]
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert claims(tmp_path) == [ClaimShown("x", 100, is_alive=False, is_mine=False)]
    remove_stale(tmp_path)
    assert names(tmp_path) == []


async def test_a_cancel_while_it_waits_leaves_nothing(tmp_path: Path) -> None:
    async def want() -> None:
        async with claim(tmp_path, "x"):
            raise AssertionError

    async with claim(tmp_path, "x"):
        waiting = [asyncio.create_task(want()) for _ in range(5)]
        await asyncio.sleep(0.05)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert all(task.cancelled() for task in waiting)
        assert names(tmp_path) == ["x.claim"]
    assert names(tmp_path) == []


async def test_a_cancel_while_it_is_taken_leaves_nothing(tmp_path: Path) -> None:
    async def want() -> None:
        async with claim(tmp_path, "x"):
            await asyncio.sleep(60)

    for turns in range(30):
        task = asyncio.create_task(want())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert names(tmp_path) == []


async def test_of_all_who_follow_one_does(tmp_path: Path) -> None:
    """Many notice a stale claim in the same moment."""
    inside = 0

    async def want(number: int) -> None:
        nonlocal inside
        async with claim(tmp_path, "x", lease_s=0.2, author=Author(f"host {number}", 1, "0")):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.005)
            inside -= 1

    for _ in range(3):
        (tmp_path / "x.claim").write_text("half of a cl")
        await asyncio.gather(*(want(number) for number in range(8)))
    assert names(tmp_path) == []


async def test_one_who_was_killed_while_following_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.claim"
    path.touch()
    found = read(path)
    assert found is not None
    os.close(create(over_of(path, found.token), os.O_WRONLY))
    async with asyncio.timeout(5), claim(tmp_path, "x", lease_s=0.2):
        assert names(tmp_path) == ["x.claim"]


async def test_a_kill_at_any_instant_is_followed_at_once(tmp_path: Path) -> None:
    """Also one in the midst of taking the name, or of giving it up."""
    chance = random.Random(5)
    for _ in range(6):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RESTLESS, str(tmp_path)), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        for _ in range(chance.randrange(3000)):
            found = read(tmp_path / "x.claim")
            assert found is None or found.author is not None
        process.kill()
        await process.wait()
        async with asyncio.timeout(5), claim(tmp_path, "x"):
            pass


async def test_one_of_this_host_who_was_killed_while_ending_is_followed_at_once(
    tmp_path: Path,
) -> None:
    gone = Author(authors.own().host, psutil.Process().ppid(), "1")
    path = tmp_path / "x.claim"
    os.close(make(path, written("t", gone, 0)))
    os.close(make(over_of(path, "t"), written("t", gone, 0)))
    async with asyncio.timeout(5), claim(tmp_path, "x"):
        assert names(tmp_path) == ["x.claim"]


async def test_a_disk_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", refuse)
    async with claim(tmp_path, "x") as held:
        assert await held.is_mine()
        assert names(tmp_path) == ["x.claim"]
        waiting = asyncio.create_task(_taken_once(tmp_path))
        assert not (await asyncio.wait({waiting}, timeout=0.1))[0]
    await waiting
    assert names(tmp_path) == []


async def _taken_once(folder: Path) -> None:
    async with claim(folder, "x"):
        pass


async def test_what_was_about_to_be_made_is_removed_when_old(tmp_path: Path) -> None:
    fresh, old = tmp_path / "x.claim.1.new", tmp_path / "x.claim.2.new"
    for path in (fresh, old):
        path.touch()
    os.utime(old, (0, 0))
    remove_stale(tmp_path)
    assert names(tmp_path) == [fresh.name]


async def test_what_is_left_of_following_is_removed(tmp_path: Path) -> None:
    os.close(create(over_of(tmp_path / "x.claim", "t"), os.O_WRONLY))
    remove_stale(tmp_path, lease_s=0)
    remove_stale(tmp_path, lease_s=0)
    assert names(tmp_path) == []
    remove_stale(tmp_path / "none")


async def test_a_disk_that_takes_no_byte_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="large"):
            async with claim(tmp_path, "x"):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


async def test_a_folder_that_takes_no_file_is_told() -> None:
    with pytest.raises(OSError, match="/proc"):
        async with claim(Path("/proc/sys"), "x"):
            pass


async def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.claim").mkdir()
    with pytest.raises(IsADirectoryError):
        async with claim(tmp_path, "x"):
            pass
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        async with claim(tmp_path / "file", "x"):
            pass


async def test_a_disk_that_fails_at_the_close_leaves_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def failing(file: int) -> None:
        status = os.fstat(file)
        close(file)
        if (tmp_path / "x.claim").exists() and status.st_ino == found.st_ino:
            raise OSError(errno.EIO, "Input/output error")

    async with claim(tmp_path, "x"):
        found = (tmp_path / "x.claim").stat()
        monkeypatch.setattr(os, "close", failing)
    monkeypatch.undo()

    assert not list(tmp_path.iterdir())
