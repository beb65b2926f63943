"""The embedded store tells an anonymous job's end before its row is written."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from gateway.jobs.job import State
from gateway.jobs.sqlite import SqliteStore
from tests.contract.stores import claim, got, outcome, put


async def test_who_hears_of_the_end_finds_it_while_the_row_waits(tmp_path: Path) -> None:
    store = await SqliteStore.open(str(tmp_path / "jobs.db"))
    await put(store, "a", is_anonymous=True)
    lease = await claim(store)
    changes = store.watch()
    hearing = asyncio.create_task(anext(changes))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        # Whoever holds the lock keeps the row from being written.
        other.execute("BEGIN IMMEDIATE")
        finishing = asyncio.create_task(store.finish(lease, outcome()))
        assert (await hearing).job.state is State.SUCCEEDED
        assert (await got(store)).state is State.SUCCEEDED
        assert not finishing.done()
        other.execute("ROLLBACK")
    await finishing
    assert (await got(store)).state is State.SUCCEEDED
    await store.close()
