"""Which credential goes to which URL."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.schemas import BearerAuth, Credential
from gateway.storage.credentials import matches, matching, taken_out


@pytest.mark.parametrize(
    ("pattern", "url", "expected"),
    [
        ("https://a.com/x.png", "https://a.com/x.png", True),
        ("https://a.com/x.png", "https://a.com/x.pngs", False),
        ("https://a.com/x.png", "https://aXcom/x.png", False),
        ("https://a.com/*", "https://a.com/x.png", True),
        ("https://a.com/*", "https://a.com/b/x.png", False),
        ("https://a.com/*", "https://a.com/", True),
        ("https://a.com/**", "https://a.com/b/x.png", True),
        ("https://a.com/**", "https://a.com.evil.com/b/x.png", False),
        ("https://*.a.com/**", "https://cdn.a.com/b", True),
        ("https://*.a.com/**", "https://evil.com/.a.com/b", False),
        ("https://a.com/**/x.png", "https://a.com/b/c/x.png", True),
        ("https://a.com/?.png", "https://a.com/x.png", True),
        ("https://a.com/?.png", "https://a.com/xy.png", False),
        ("https://a.com/x?y=1", "https://a.com/x?y=1", True),
        ("**", "anything/at/all", True),
        ("*", "anything/at/all", False),
        ("***", "a/b", True),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("https://a.com/(x|y)[z]", "https://a.com/(x|y)[z]", True),
    ],
)
def test_patterns(pattern: str, url: str, expected: bool) -> None:
    assert matches(pattern, url) is expected


def test_the_first_match_wins() -> None:
    first, second = (BearerAuth(type="bearer", token=token) for token in ("1", "2"))
    credentials = [
        Credential(url_pattern="https://a.com/b/**", auth=first),
        Credential(url_pattern="**", auth=second),
    ]

    assert matching(credentials, "https://a.com/b/c") == first
    assert matching(credentials, "https://a.com/c") == second
    assert matching([], "https://a.com/c") is None


def test_a_hostile_pattern_costs_no_time() -> None:
    began = time.thread_time()

    assert not matches("*a" * 200 + "b", "a" * 5000)
    assert not matches("**a" * 200 + "b", "a" * 5000)
    assert not matches("**" + "?" * 4000 + "b", "a" * 8000)
    assert not matches("**" + "a" * 4000 + "b", "a" * 8000)
    assert time.thread_time() - began < 0.5


@given(st.text("ab/*?", max_size=8), st.text("ab/", max_size=9))
def test_patterns_mean_what_an_expression_would(pattern: str, url: str) -> None:
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": ".*", "*": "[^/]*", "?": "."}
    expected = re.fullmatch("".join(wild.get(part, part) for part in parts), url)

    assert matches(pattern, url) is (expected is not None)


@given(st.text(max_size=50))
def test_a_url_matches_itself_and_two_stars(url: str) -> None:
    assert matches("**", url)
    assert matches("*", url) is ("/" not in url)
    if not {"*", "?"} & {*url}:
        assert matches(url, url)


@pytest.mark.parametrize(
    ("url", "bare", "user", "password"),
    [
        ("https://me:pw@a.com/x?y=1", "https://a.com/x?y=1", "me", "pw"),
        ("https://me:p%40w@a.com:8443/x", "https://a.com:8443/x", "me", "p@w"),
        ("https://token@a.com/x", "https://a.com/x", "token", ""),
        ("https://me:a@b@a.com/x", "https://a.com/x", "me", "a@b"),
    ],
)
def test_user_and_password_are_taken_out(url: str, bare: str, user: str, password: str) -> None:
    found, credential = taken_out(url)

    assert found == bare
    assert credential is not None
    assert credential.auth.model_dump() == {
        "type": "basic",
        "username": user,
        "password": password,
    }
    assert matching([credential], bare) == credential.auth


@pytest.mark.parametrize(
    "url", ["https://a.com/x", "https://a.com/@me", "https://a.com?u=me@b.com", "hf://gpt2@main/c"]
)
def test_a_url_without_a_user_stays_as_it_is(url: str) -> None:
    assert taken_out(url) == (url, None)
