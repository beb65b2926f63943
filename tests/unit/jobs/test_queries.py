"""No statement looks at every job: with 100,000 of them it would hold up all others."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from gateway.jobs import queries

SQL = queries.load()
#: What the planner says when it goes through more jobs than the statement is about.
WHOLE = re.compile(
    r"^SCAN jobs$|^SEARCH jobs .*\(state=\?\)$|^SCAN deliveries$|^SCAN generation(s|_numbers)$"
)
#: What goes through few jobs: those that run, the first of those that are queued.
FEW = {"active", "oldest", "unindexed_generations", "index_generations", "indexed_generations"}
#: A page for a person, who may wait.
PAGES = {"deliveries"}


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    for script in (queries.read("schema.sql"), *queries.migrations()):
        db.executescript(script)
    yield db
    db.close()


def plan_of(database: sqlite3.Connection, name: str) -> list[str]:
    values = dict.fromkeys(re.findall(r":(\w+)", SQL[name]))
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values)]


@pytest.mark.parametrize("name", sorted(SQL.keys() - FEW - PAGES))
def test_a_statement_finds_its_jobs_by_an_index(database: sqlite3.Connection, name: str) -> None:
    assert not [line for line in plan_of(database, name) if WHOLE.match(line)]


@pytest.mark.parametrize("name", sorted(one for one in SQL if one.startswith("generations")))
def test_a_page_of_what_was_made_is_read_in_its_order(
    database: sqlite3.Connection, name: str
) -> None:
    plan = plan_of(database, name)
    assert not [line for line in plan if "TEMP B-TREE" in line]
    # The index of words takes the ends of the page, and its order, too: `M`, `>`, `<`.
    words = [line for line in plan if "VIRTUAL TABLE" in line]
    assert all(line.endswith("M3><") for line in words)


def test_names_are_used_once() -> None:
    text = "".join(map(queries.read, queries.FILES))
    names = re.findall(r"^-- (\w+) --$", text, re.MULTILINE)
    assert sorted(names) == sorted(SQL)
