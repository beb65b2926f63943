"""One writer at a time for one name, among all processes and hosts that share a folder.

<stem>.claim            who holds the name, and how much room it has reserved; made exclusively
<stem>.<token>.over     made exclusively by whoever ends that claim: its holder, or who takes over

A holder touches its claim every few seconds. A claim is stale when its process is known to be
gone, or, where that cannot be known (another host, another container), when it has not changed
for `LEASE_S` seconds of the observer's own clock: hosts need not agree on the time. File locks
are not used: they lie on network disks.

A holder that was only silent may wake, and write on: so who takes over from it, not knowing it to
be gone, removes what it was writing, and begins a file that the other one has not open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.storage import author as authors
from gateway.storage.author import Author
from gateway.storage.claimfile import (
    WITNESS,
    Record,
    end,
    is_left,
    make,
    over_of,
    read,
    remove_unnamed,
    written,
)
from gateway.storage.failures import ClaimLost
from gateway.storage.partial import discard

#: Seconds without a sign of life after which a holder elsewhere is taken for dead.
LEASE_S = 30.0
_BEATS_A_LEASE = 6
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5


@dataclass(frozen=True)
class ClaimShown:
    """A claim as others see it; `is_mine` says that this process holds it."""

    stem: str
    reserved: int
    is_alive: bool
    is_mine: bool


class Held:
    """A claim that is held, or was; methods that touch the disk run in a thread."""

    def __init__(self, path: Path, reserved: int, author: Author, lease_s: float) -> None:
        self.token = uuid.uuid4().hex
        self.beat_s = lease_s / _BEATS_A_LEASE
        self._path = path
        self._reserved = reserved
        self._author = author
        self._lease_s = lease_s
        # A cancelled task leaves its thread behind: the two must not meet over one descriptor.
        self._lock = threading.Lock()
        self._file: int | None = None
        self._over = False
        self._lost = False

    @property
    def is_lost(self) -> bool:
        """Whether another is known to have taken over; asks no disk, and may be seconds late."""
        return self._lost

    def check(self) -> None:
        """Raise ClaimLost when `is_lost`; ask before each write."""
        if self._lost:
            raise ClaimLost

    async def reserve(self, size: int) -> None:
        """Tell the others how many bytes this will come to. Raises OSError."""
        await asyncio.to_thread(self._rewrite, size)

    async def is_mine(self) -> bool:
        """Whether no one has taken over; ask before what was written gets its final name."""
        return await asyncio.to_thread(self._is_mine)

    def take(self) -> bool:
        """Try once to get the claim, and end one that is stale. Raises OSError."""
        with self._lock:
            if self._over:
                return True
            if os.path.lexists(self._path):
                self._end_stale()
                return False
            # Before it is there: this process ends claims of its own that it does not hold.
            _PULSE.add(self)
            try:
                self._file = make(self._path, written(self.token, self._author, self._reserved))
            except FileExistsError:
                return False
            finally:
                if self._file is None:
                    _PULSE.remove(self)
            # A network file system sends it off now, not when the file is closed.
            os.utime(self._file)
            return True

    def release(self) -> None:
        """Give the claim up."""
        with self._lock:
            self._over = True
            held, self._file = self._file, None
        if held is not None:
            _PULSE.remove(self)
            # A network disk tells here of what it could not write: nothing depends on it any more.
            with contextlib.suppress(OSError):
                os.close(held)
            # What cannot be removed is taken over: it is not among those that live.
            with contextlib.suppress(OSError):
                end(self._path, self.token, self._lease_s)

    def touch(self) -> None:
        """Show that the holder lives, and look whether it still holds."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                os.utime(self._file)
                self._lost = self._lost or not self._is_mine()

    def _end_stale(self) -> None:
        found = read(self._path)
        if found is not None and _is_stale(self._path, found, self._author, self._lease_s):
            _follow(self._path, found, self._author, self._lease_s)

    def _rewrite(self, size: int) -> None:
        with self._lock:
            if self._file is not None:
                self._write(self._file, size)

    def _write(self, file: int, size: int) -> None:
        # In place and of one length: after a takeover it can only reach our own old file.
        os.pwrite(file, written(self.token, self._author, size), 0)
        # A network file system sends it off now, not when the file is closed.
        os.utime(file)

    def _is_mine(self) -> bool:
        found = read(self._path)
        is_here = found is not None and found.token == self.token
        return is_here and not over_of(self._path, self.token).exists()


@asynccontextmanager
async def claim(
    folder: Path,
    stem: str,
    reserved: int = 0,
    *,
    lease_s: float = LEASE_S,
    author: Author | None = None,
) -> AsyncIterator[Held]:
    """Hold `stem` in `folder`, after whoever holds it now. Raises OSError.

    `author` is this process; tests say it is another.
    """
    path = folder / f"{stem}.claim"
    held = Held(path, reserved, author or authors.own(), lease_s)
    try:
        await _taken(held)
        yield held
    finally:
        # Shielded: a second cancel must not leave the claim behind.
        await asyncio.shield(asyncio.to_thread(held.release))


async def _taken(held: Held) -> None:
    pause = _FIRST_PAUSE_S
    while not await asyncio.to_thread(held.take):
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def claims(folder: Path, *, lease_s: float = LEASE_S) -> list[ClaimShown]:
    """Return every claim in a folder; belongs in a thread.

    Whether a holder elsewhere lives shows only to who asks again after `lease_s`. Raises OSError.
    """
    mine, shown = authors.own(), []
    paths = [path for path in _listed(folder) if path.suffix == ".claim"]
    for path in sorted(paths):
        found = read(path)
        if found is not None:
            is_alive = not _is_stale(path, found, mine, lease_s)
            is_mine = _PULSE.has(found.token)
            shown.append(ClaimShown(path.stem, found.reserved, is_alive, is_mine))
    WITNESS.forget_others(folder, set(paths))
    return shown


def remove_stale(folder: Path, *, lease_s: float = LEASE_S) -> None:
    """Remove what killed holders left; belongs in a thread. Raises OSError."""
    mine = authors.own()
    for path in _listed(folder):
        if path.suffix == ".new":
            remove_unnamed(path)
        found = read(path) if path.suffix in (".claim", ".over") else None
        if found is None:
            continue
        if path.suffix == ".claim" and _is_stale(path, found, mine, lease_s):
            _follow(path, found, mine, lease_s)
        if path.suffix == ".over" and is_left(path, found, lease_s):
            path.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _is_stale(path: Path, found: Record, mine: Author, lease_s: float) -> bool:
    if found.author is not None and _is_of_this_host(found, mine):
        if found.author == mine:
            return not _PULSE.has(found.token)
        return authors.is_gone(found.author)
    return WITNESS.is_silent(path, found, lease_s)


def _follow(path: Path, found: Record, mine: Author, lease_s: float) -> None:
    """End the claim of one that is gone, or has been silent for long."""
    if _is_of_this_host(found, mine):
        end(path, found.token, lease_s)
    else:
        end(path, found.token, lease_s, lambda: discard(path.parent, path.stem))


def _is_of_this_host(found: Record, mine: Author) -> bool:
    """Whether it can be known that the holder is gone."""
    return found.author is not None and found.author.host == mine.host


class _Pulse:
    """Touches each claim that this process holds, in one thread that lives while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, Held] = {}
        self._thread: threading.Thread | None = None

    def add(self, held: Held) -> None:
        """Touch this claim from now on."""
        with self._changed:
            self._held[held.token] = held
            self._changed.notify()
            if self._thread is None:
                # Not in the pool, where a long job on the disk may keep it waiting.
                self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
                self._thread.start()

    def remove(self, held: Held) -> None:
        """Touch this claim no more."""
        with self._changed:
            self._held.pop(held.token, None)
            self._changed.notify()

    def has(self, token: str) -> bool:
        """Whether this process holds the claim of this token."""
        with self._changed:
            return token in self._held

    def _run(self) -> None:
        while due := self._due():
            for held in due:
                held.touch()

    def _due(self) -> list[Held]:
        with self._changed:
            while self._held:
                shortest = min(held.beat_s for held in self._held.values())
                if not self._changed.wait(shortest):
                    return list(self._held.values())
            self._thread = None
            return []


_PULSE = _Pulse()
