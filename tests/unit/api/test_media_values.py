"""Values of workflows in Python, whose nesting only their own code knows."""

from __future__ import annotations

from gateway.api import media_values

SECRET = "https://user:hush@host/a.png?x=1"
BARE = "https://host/a.png?x=1"


def test_no_password_is_told_however_deep_its_url_stands() -> None:
    given = {"a": SECRET, "b": [SECRET, {"c": [[SECRET]]}], "d": {"e": SECRET}, "f": [1, None, "x"]}
    assert media_values.without_users(given) == {
        "a": BARE,
        "b": [BARE, {"c": [[BARE]]}],
        "d": {"e": BARE},
        "f": [1, None, "x"],
    }
