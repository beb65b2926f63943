"""System events that wait: each job's are bounded, the newest progress says all."""

from __future__ import annotations

import pytest

from gateway.webhooks import backlog
from gateway.webhooks.backlog import Backlog, Waiting


def put(found: Backlog, job: str | None, *names: str) -> int:
    return sum(found.put(Waiting(name, {"n": n}), job) for n, name in enumerate(names))


def taken(found: Backlog) -> list[tuple[str, int]]:
    told = []
    while found:
        event = found.take()
        told.append((event.name, event.data["n"]))
    return told


def test_newer_progress_replaces_older_and_nothing_else_is_replaced() -> None:
    found = Backlog()
    names = ("executing", "progress", "progress_state", "executed", "progress", "executed")
    assert put(found, "a", *names) == 0
    assert taken(found) == [
        ("executing", 0),
        ("progress_state", 2),
        ("executed", 3),
        ("progress", 4),
        ("executed", 5),
    ]


def test_jobs_take_turns() -> None:
    found = Backlog()
    put(found, "a", "executing", "executed", "executing")
    put(found, "b", "executed")
    put(found, None, "file_deleted")
    assert [name for name, _ in taken(found)] == [
        *("executing", "executed", "file_deleted"),
        *("executed", "executing"),
    ]


def test_progress_makes_room_first_then_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "CAPACITY", 3)
    found = Backlog()
    assert put(found, "a", "executing", "progress", "executed", "executing", "executed") == 2
    assert taken(found) == [("executed", 2), ("executing", 3), ("executed", 4)]


def test_the_job_that_waited_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "JOBS", 2)
    found = Backlog()
    put(found, None, "file_deleted")
    put(found, "a", "executed", "executed")
    assert put(found, "b", "executing") == 2
    assert [name for name, _ in taken(found)] == ["file_deleted", "executing"]
