"""No statement looks at every job: with 100,000 of them it would hold up all others."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from gateway.jobs import queries

SQL = queries.load()
#: What the planner says when it goes through more jobs than the statement is about.
WHOLE = re.compile(r"^SCAN jobs$|^SEARCH jobs .*\(state=\?\)$|^SCAN deliveries$")
#: What goes through few jobs: those that run, the first of those that are queued.
FEW = {"active", "oldest"}
#: A page for a person, who may wait.
PAGES = {"deliveries"}


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    for script in (queries.read("schema.sql"), *queries.migrations()):
        db.executescript(script)
    yield db
    db.close()


@pytest.mark.parametrize("name", sorted(SQL.keys() - FEW - PAGES))
def test_a_statement_finds_its_jobs_by_an_index(database: sqlite3.Connection, name: str) -> None:
    values = dict.fromkeys(re.findall(r":(\w+)", SQL[name]))
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values)]

    assert not [line for line in plan if WHOLE.match(line)]


def test_names_are_used_once() -> None:
    text = queries.read("queries.sql") + queries.read("queue.sql")
    names = re.findall(r"^-- (\w+) --$", text, re.MULTILINE)
    assert sorted(names) == sorted(SQL)
