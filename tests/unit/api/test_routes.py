"""Which addresses the gateway itself answers at."""

from __future__ import annotations

import pytest

from gateway.api.routes import TABLE, is_taken


@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route.method} {route.path}")
def test_every_address_of_the_table(route: object) -> None:
    path = str(getattr(route, "path", "")).replace("{id}", "a b").replace("{name}", "1")
    assert is_taken(path.replace("{asset}", "x"))


@pytest.mark.parametrize(
    "path",
    [
        "/workflow/a/b/c",
        "/jobs/a",
        "/tasks/generate",
        "/docs/tryon",
        "/docs/a/b",
        "/jobs/a/outputs/b",
    ],
)
def test_what_a_pattern_holds(path: str) -> None:
    assert is_taken(path)


@pytest.mark.parametrize(
    "path", ["/tryon", "/", "/workflow", "/workflow/", "/prompts", "/jobs/a/b", "/api/v2/x", ""]
)
def test_what_is_free(path: str) -> None:
    assert not is_taken(path)
