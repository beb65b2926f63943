"""SQLite on threads of its own: writes that wait together are committed and synced together.

          run(work)            one transaction              one fsync
callers ------------> writer -------------------> told ---------------> promised
        ------------> reader (reads never wait for a write)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gateway import errors, metrics

#: Works that are committed together at most.
_BATCH = 256
_BUSY_S = 5.0
_CACHE_KIB = 2000
#: What is left of a WAL that grew while another process read for long: it never shrinks otherwise.
_WAL_BYTES = 64 << 20

_T = TypeVar("_T")
Work = Callable[[sqlite3.Connection], _T]


@dataclass
class _Ask:
    work: Work[Any]
    future: asyncio.Future[Any]
    #: Called on the loop, in the order of the commits, before the caller goes on.
    told: Callable[[Any], None] | None
    is_durable: bool
    #: Whether to tell only once it is on the disk: a power cut cannot take back what was told.
    late: Callable[[Any], bool] | None = None
    result: Any = None
    failure: BaseException | None = None
    asked_at: float = field(default_factory=time.monotonic)

    @property
    def is_told_late(self) -> bool:
        return self.late is not None and self.late(self.result)


class _Thread:
    """Takes from a queue until it gets None; what comes together is handed on together."""

    def __init__(self, name: str, serve: Callable[[list[_Ask]], None]) -> None:
        self._asks: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._serve = serve
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, ask: _Ask) -> None:
        self._asks.put(ask)

    def close(self) -> None:
        """Serve what waits, then end."""
        self._asks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._asks.get()) is not None:
            batch = [first]
            is_over = False
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH and not is_over:
                    following = self._asks.get_nowait()
                    is_over = following is None
                    if following is not None:
                        batch.append(following)
            self._serve(batch)
            if is_over:
                return


class Database:
    """One file; writes are units: all of a work happens, or nothing of it."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._wal = Path(f"{path}-wal")
        self._synced: int | None = None
        self._writing = _connected(path)
        self._is_closed = False
        self._is_locked = False
        self._patience_s = _BUSY_S
        self._reading = _connected(path)
        self._syncer = _Thread("store-sync", self._sync)
        self._writer = _Thread("store-write", self._write)
        self._reader = _Thread("store-read", self._read)

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open or create the file; raises StorageFull, StoreBusy."""
        with translated():
            await asyncio.to_thread(_prepare, path)
            return cls(path)

    async def close(self) -> None:
        """Finish what was asked, and let go of the file; whoever asks later gets StoreBusy."""
        self._is_closed = True
        await asyncio.to_thread(self._end)

    def migrate(self, first: str, steps: list[str]) -> None:
        """Bring the file from any earlier form to the newest; user_version counts the steps.

        Before anything is asked of it. Raises StateRefused for a file of a newer version.
        """
        db = self._writing
        done = int(db.execute("PRAGMA user_version").fetchone()[0])
        if done > len(steps):
            raise errors.StateRefused(
                f"STATE_DIR/jobs.db was written by a newer version of the gateway: its form is "
                f"{done}, and this version knows {len(steps)}.",
                hint="Start the newer version again, or give this one a STATE_DIR of its own.",
            )
        if not done:
            db.executescript(first)
        for number, statements in enumerate(steps[done:], start=done + 1):
            db.executescript(
                f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {number}; COMMIT;"
            )

    def _end(self) -> None:
        for thread in (self._writer, self._reader, self._syncer):
            thread.close()
        if self._synced is not None:
            os.close(self._synced)
        self._reading.close()
        self._writing.close()

    # On the loop

    async def run(
        self,
        work: Work[_T],
        *,
        durable: bool = False,
        told: Callable[[_T], None] | None = None,
        told_late: Callable[[_T], bool] | None = None,
    ) -> _T:
        """Return what the work returns, once it is committed, or on the disk where `durable`.

        `told` is called with it on the loop, even when the caller is gone: in the order of the
        commits, or, where `told_late` says so of it, when it is on the disk.
        Raises StorageFull, StoreBusy, and what the work raises.
        """
        result: _T = await self._asked(
            self._writer, _Ask(work, self._future(), told, durable, told_late)
        )
        return result

    async def read(self, work: Work[_T]) -> _T:
        """Return what a work that writes nothing returns."""
        result: _T = await self._asked(self._reader, _Ask(work, self._future(), None, False))
        return result

    def _future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    async def _asked(self, thread: _Thread, ask: _Ask) -> Any:
        if self._is_closed:
            # Nobody is left who would ever answer.
            raise errors.StoreBusy("The job store is closed: the gateway is stopping.")
        thread.put(ask)
        with translated():
            return await ask.future

    def _tell(self, batch: list[_Ask]) -> None:
        for ask in batch:
            if ask.told is not None and ask.failure is None and not ask.is_told_late:
                # Not here: one that raises would leave the callers after it waiting for ever.
                self._loop.call_soon(ask.told, ask.result)
            if ask.failure is not None or not ask.is_durable:
                _settle(ask)

    def _promise(self, batch: list[_Ask]) -> None:
        for ask in batch:
            # Also when the disk failed in the sync: it is committed, and cannot be taken back.
            if ask.told is not None and ask.is_told_late:
                self._loop.call_soon(ask.told, ask.result)
            _settle(ask)

    # On the threads

    def _write(self, batch: list[_Ask]) -> None:
        began = time.perf_counter()
        try:
            self._be_patient(batch)
            self._commit(batch)
            self._is_locked = False
        except Exception as failure:  # noqa: BLE001 - it is raised where the works were asked
            self._is_locked = "locked" in str(failure)
            with contextlib.suppress(sqlite3.Error):
                self._writing.rollback()
            for ask in batch:
                ask.failure = ask.failure or failure
        metrics.store_write_seconds.observe(time.perf_counter() - began)
        self._on_loop(self._tell, batch)
        for ask in batch:
            if ask.is_durable and ask.failure is None:
                self._syncer.put(ask)

    def _be_patient(self, batch: list[_Ask]) -> None:
        """Wait for a lock that outlasted others only as long as somebody here has not yet."""
        waited = time.monotonic() - batch[0].asked_at if self._is_locked else 0.0
        left = max(0.0, _BUSY_S - waited)
        if left != self._patience_s:
            self._patience_s = left
            self._writing.execute(f"PRAGMA busy_timeout = {round(left * 1000)}")

    def _commit(self, batch: list[_Ask]) -> None:
        db = self._writing
        db.execute("BEGIN IMMEDIATE")
        for ask in batch:
            db.execute("SAVEPOINT work")
            try:
                ask.result = ask.work(db)
            except Exception as failure:
                ask.failure = failure
                if not db.in_transaction:
                    # The disk is full: SQLite has taken back all of the batch by itself.
                    raise
                db.execute("ROLLBACK TO work")
            db.execute("RELEASE work")
        db.execute("COMMIT")

    def _read(self, batch: list[_Ask]) -> None:
        for ask in batch:
            try:
                ask.result = ask.work(self._reading)
            except Exception as failure:  # noqa: BLE001 - it is raised where the work was asked
                ask.failure = failure
            self._on_loop(self._promise, [ask])

    def _sync(self, batch: list[_Ask]) -> None:
        try:
            if self._synced is None:
                # Kept open: SQLite keeps the file as long as it has connections.
                self._synced = os.open(self._wal, os.O_RDONLY)
            # Its size goes along, its times do not: nobody reads those, and they cost a journal.
            os.fdatasync(self._synced)
        except OSError as failure:
            for ask in batch:
                ask.failure = failure
        self._on_loop(self._promise, batch)

    def _on_loop(self, call: Callable[[list[_Ask]], None], batch: list[_Ask]) -> None:
        # A loop that is closed has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, batch)


def _settle(ask: _Ask) -> None:
    if ask.future.done():
        return
    if ask.failure is None:
        ask.future.set_result(ask.result)
    else:
        ask.future.set_exception(ask.failure)


def _prepare(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Prompts, and addresses with tokens in them, are for nobody else; SQLite's other files follow.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with contextlib.suppress(PermissionError):
        path.chmod(0o600)
    with contextlib.closing(_connected(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
    # The name of a new file is on the disk only with its folder.
    _fsync(path.parent)


def _connected(path: Path) -> sqlite3.Connection:
    # Each connection is used by one thread at a time, which is not the one that opens it.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    db.row_factory = sqlite3.Row
    # The file is synced by hand where that was promised: FULL would sync every commit.
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    return db


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Translate what SQLite and the disk raise into errors of the gateway."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as failure:
        text = str(failure).lower()
        if "input/output" in text:
            raise errors.StorageFull(
                "The disk of STATE_DIR does not keep what is written to it.",
                hint="Look for its errors in the kernel's log (dmesg), then try again.",
            ) from failure
        if "full" in text or "no space" in text or "disk i/o" in text:
            raise errors.StorageFull(
                "The disk of STATE_DIR is full.",
                hint="Make room in STATE_DIR, then try again.",
            ) from failure
        if "readonly" in text or "read-only" in text:
            raise errors.StorageFull(
                "The disk of STATE_DIR can be read only.",
                hint="See why it was mounted so (dmesg), and mount it for writing again.",
            ) from failure
        if "locked" in text:
            raise errors.StoreBusy(
                "Another process holds the job store, STATE_DIR/jobs.db, locked.",
                hint="End what has it open (a shell of sqlite3, a backup), then try again.",
                retry_after=5.0,
            ) from failure
        raise


@contextlib.contextmanager
def opening() -> Iterator[None]:
    """Translate what makes a file unusable into StateRefused, and the rest as `translated` does."""
    try:
        with translated():
            yield
    except sqlite3.DatabaseError as failure:
        raise errors.StateRefused(
            f"STATE_DIR/jobs.db cannot be used: {failure}.",
            hint="It has to belong to the user that the gateway runs as. If it is damaged, put a "
            "backup in its place, or move it away: its jobs are lost then.",
        ) from failure
