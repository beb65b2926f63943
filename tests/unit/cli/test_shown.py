"""What the command line makes of the gateway's answers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.client import Refused
from gateway.cli.jobs import row, standing
from gateway.cli.saving import unique_names


def job(**fields: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "state": "queued",
        "created_at": "2026-01-02T03:04:05.678Z",
        "progress": {"value": 0.5},
        "outputs": [],
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "queued"),
        ({"position": 3}, "queued, 3"),
        ({"position": 1, "phase": "preparing"}, "preparing"),
        ({"state": "running"}, "running"),
    ],
)
def test_standing(fields: dict[str, Any], words: str) -> None:
    assert standing(job(**fields)) == words


def test_a_row_of_a_job_that_failed() -> None:
    found = job(
        state="failed",
        started_at="2026-01-02T03:04:06.000Z",
        finished_at="2026-01-02T03:05:07.250Z",
        error={"code": "timeout"},
    )
    assert row(found) == ("a", "failed", "50%", "2026-01-02 03:04:05", "61.2 s", "0", "timeout")


def test_names_are_made_unique_and_stay_in_the_folder() -> None:
    names = ["a.png", "a.png", "../../b.png", "c\\d.png", ".."]
    outputs = [{"index": index, "filename": name} for index, name in enumerate(names)]
    assert unique_names(outputs) == ["a.png", "1-a.png", "b.png", "d.png", "output"]


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (409, {"error": "Taken.", "hint": "Choose another."}, "Taken.", "Choose another."),
        (502, {}, "The gateway answered 502.", None),
        (502, {"error": {"no": "sentence"}}, "The gateway answered 502.", None),
        (401, {"error": "No key."}, "No key.", "Give the key with --key, or in GATEWAY_API_KEY."),
        (
            422,
            {
                "error": "Refused.",
                "node_errors": {"1": {"errors": [{"message": "Bad value", "details": "x: 0"}]}},
            },
            "Refused.",
            "node 1: Bad value: x: 0",
        ),
    ],
)
def test_refusals(status: int, body: dict[str, Any], message: str, hint: str | None) -> None:
    refused = Refused(status, body)
    assert (refused.message, refused.hint) == (message, hint)
