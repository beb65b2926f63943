"""The database under the embedded store: units, one after the other, all or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.jobs.database import Database


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "test.db")
    await opened.run(lambda it: it.execute("CREATE TABLE things (name TEXT UNIQUE)").fetchall())
    yield opened
    await opened.close()


def add(name: str) -> Any:
    return lambda it: it.execute("INSERT INTO things VALUES (?)", (name,)).fetchall()


async def names(db: Database) -> list[str]:
    found = await db.read(lambda it: it.execute("SELECT name FROM things").fetchall())
    return [row["name"] for row in found]


async def test_a_work_that_raises_leaves_nothing_and_harms_no_other(db: Database) -> None:
    def half(it: sqlite3.Connection) -> None:
        it.execute("INSERT INTO things VALUES ('half')")
        raise ValueError("on the way")

    done = await asyncio.gather(
        *(db.run(work) for work in (add("a"), half, add("b"), add("a"))), return_exceptions=True
    )
    assert [type(one) for one in done] == [list, ValueError, list, sqlite3.IntegrityError]
    assert await names(db) == ["a", "b"]


async def test_changes_are_told_in_the_order_of_their_commits(db: Database) -> None:
    told: list[str] = []
    await asyncio.gather(
        *(
            db.run(
                add(name),
                durable=number % 2 == 0,
                told=lambda _, name=name: told.append(name),  # type: ignore[misc]
            )
            for number, name in enumerate("abcdef")
        )
    )
    assert told == list("abcdef") == await names(db)


async def test_a_full_disk_is_named_and_over_when_there_is_room(db: Database) -> None:
    pages = await db.run(lambda it: it.execute("PRAGMA page_count").fetchone()[0])
    await db.run(lambda it: it.execute(f"PRAGMA max_page_count={pages + 1}").fetchall())
    works = [db.run(add("x" * 9000 + str(number)), durable=True) for number in range(5)]
    done = await asyncio.gather(*works, return_exceptions=True)
    assert all(isinstance(one, errors.StorageFull) for one in done)
    assert await names(db) == []
    await db.run(lambda it: it.execute("PRAGMA max_page_count=100000").fetchall())
    await db.run(add("a"), durable=True)
    assert await names(db) == ["a"]


async def test_a_disk_that_can_be_read_only_is_named(db: Database) -> None:
    await db.run(lambda it: it.execute("PRAGMA query_only=1").fetchall())
    with pytest.raises(errors.StorageFull, match="read only"):
        await db.run(add("a"))


async def test_a_file_that_another_holds_is_named_and_can_be_read(
    db: Database, tmp_path: Path
) -> None:
    await db.run(lambda it: it.execute("PRAGMA busy_timeout=50").fetchall())
    with sqlite3.connect(tmp_path / "test.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(errors.StoreBusy):
            await db.run(add("a"))
        assert await names(db) == []
        other.execute("ROLLBACK")
    other.close()
    await db.run(add("a"))
    assert await names(db) == ["a"]


async def test_a_caller_that_goes_leaves_its_work_behind(db: Database) -> None:
    asking = asyncio.create_task(db.run(add("a"), durable=True))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await db.run(add("b"))
    assert await names(db) == ["a", "b"]


async def test_who_is_told_and_fails_leaves_nobody_waiting(db: Database) -> None:
    noted: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: noted.append(str(context["exception"]))
    )

    def fail(_: Any) -> None:
        raise ValueError("told in vain")

    async with asyncio.timeout(5):
        await asyncio.gather(
            db.run(add("a"), told=fail),
            db.run(add("b")),
            db.run(add("c"), durable=True, told=fail, told_late=lambda _: True),
            db.run(add("d"), durable=True),
        )
    assert noted == ["told in vain"] * 2


async def test_a_work_that_ends_the_batch_is_the_end_of_nothing_else(db: Database) -> None:
    """As SQLite does when memory runs out: it takes back all, and the error is none of its own."""

    def run_out(it: sqlite3.Connection) -> None:
        it.execute("ROLLBACK")
        raise MemoryError

    with pytest.raises(MemoryError):
        await db.run(run_out)
    await db.run(add("a"), durable=True)
    assert await names(db) == ["a"]


async def test_what_a_long_reader_made_the_wal_grow_to_is_given_back(
    db: Database, tmp_path: Path
) -> None:
    await db.run(lambda it: it.execute("PRAGMA journal_size_limit=8000000").fetchall())
    wal = tmp_path / "test.db-wal"
    with contextlib.closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM things").fetchall()
        for number in range(12):
            await db.run(add(f"{number}" + "x" * 1_000_000))
        assert wal.stat().st_size > 10_000_000
        other.execute("ROLLBACK")
    for name in "abc":
        await db.run(add(name))
    assert wal.stat().st_size <= 8_000_000


async def test_a_disk_that_confirms_nothing_is_named_and_what_is_written_stays(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    told: list[Any] = []
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(errors.StorageFull, match="does not keep"):
            await db.run(add("a"), durable=True, told=told.append, told_late=lambda _: True)
    assert await names(db) == ["a"]
    assert len(told) == 1
    await db.run(add("b"), durable=True)


async def test_nobody_else_may_read_the_file(db: Database, tmp_path: Path) -> None:
    await db.run(add("a"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("test.db*")}
    assert modes == {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600}
