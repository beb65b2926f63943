"""Named workflows as the command line shows them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.workflows import problems, row, standing

MISTAKE = {"file": "a.yaml", "line": 2, "column": 3, "message": "no"}


def workflow(**more: Any) -> dict[str, Any]:
    return {"name": "a", "description": None, "available": True, **more}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "yes"),
        ({"available": None}, "unknown"),
        ({"available": False}, "no"),
        ({"available": False, "missing_nodes": ["A"], "missing_models": [1]}, "nodes missing"),
        ({"available": False, "missing_models": [1]}, "models missing"),
        ({"available": False, "waits_for": "It waits."}, "not yet"),
        ({"available": True, "mistakes": [MISTAKE]}, "has mistakes"),
    ],
)
def test_whether_it_runs(more: dict[str, Any], told: str) -> None:
    assert standing(workflow(**more)) == told


def test_a_line_of_the_table() -> None:
    found = workflow(description="Two\nlines.", parameters={"properties": {"a": {}, "b": {}}})
    assert row(found) == ("a", "yes", "a, b", "Two lines.")


def test_what_keeps_it_from_running() -> None:
    models = [{"folder": "vae", "name": "x"}, {"folder": "loras", "name": "y"}]
    found = workflow(mistakes=[MISTAKE], missing_nodes=["A", "B"], missing_models=models)
    assert problems(found) == [
        "a.yaml:2:3: no",
        "a: ComfyUI has no node A, B.",
        "a: there is no model vae/x, loras/y.",
    ]


def test_what_it_waits_for_and_what_its_conversion_warns_of() -> None:
    found = workflow(waits_for="It waits.", warnings=["Odd."])
    assert problems(found) == ["a: It waits.", "a: Odd."]
