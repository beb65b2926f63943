"""Destinations: what is written to, what is told, and names that do not collide."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.media import destinations
from gateway.storage.credentials import matching

HF = "https://huggingface.co"
ACCOUNT = "https://acc.blob.core.windows.net"

CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"s3": {"bucket": "b", "prefix": ""}}, "a.png", "s3://b/a.png", "s3://b/a.png"),
    ({"s3": {"bucket": "b", "prefix": "x/y"}}, "a.png", "s3://b/x/ya.png", "s3://b/x/ya.png"),
    ({"s3": {"bucket": "b", "prefix": "x/"}}, "a b#é.png", "s3://b/x/a b#é.png", ""),
    ({"gcs": {"bucket": "b", "prefix": "x/"}}, "a.png", "gs://b/x/a.png", "gs://b/x/a.png"),
    (
        {"azure_blob_upload": {"container": "c"}},
        "a.png",
        "az://c/a.png",
        f"{ACCOUNT}/c/a.png",
    ),
    (
        {"azure_blob_upload": {"container": "c", "blob_prefix": "x/"}},
        "a.png",
        "az://c/x/a.png",
        f"{ACCOUNT}/c/x/a.png",
    ),
    ({"hf_upload": {"repo": "o/r"}}, "a.png", f"{HF}/o/r/resolve/main/a.png", ""),
    (
        {"hf_upload": {"repo": "o/r", "repo_type": "dataset", "revision": "refs/pr/1"}},
        "a.png",
        f"{HF}/datasets/o/r/resolve/refs%2Fpr%2F1/a.png",
        "",
    ),
    (
        {"hf_upload": {"repo": "o/r", "directory": "/x y//z/"}},
        "a b.png",
        f"{HF}/o/r/resolve/main/x%20y/z/a%20b.png",
        "",
    ),
    ({"http_upload": {"url_prefix": "https://h"}}, "a.png", "https://h/a.png", ""),
    ({"http_upload": {"url_prefix": "https://h/x/"}}, "a.png", "https://h/x/a.png", ""),
    ({"http_upload": {"url_prefix": "https://h/x//"}}, "a.png", "https://h/x//a.png", ""),
    (
        {"http_upload": {"url_prefix": "https://h/x"}},
        "a#b?/é.png",
        "https://h/x/a%23b%3F%2F%C3%A9.png",
        "",
    ),
    (
        {"http_upload": {"url_prefix": "https://h/put?token=t0p&to=x"}},
        "a.png",
        "https://h/put?token=t0p&to=x/a.png",
        "https://h/put?token=***&to=x/a.png",
    ),
]


@pytest.mark.parametrize(("fields", "filename", "url", "told"), CASES)
def test_urls(fields: dict[str, Any], filename: str, url: str, told: str) -> None:
    found = destinations.of(fields, ACCOUNT)
    assert found is not None
    assert found.url(filename) == url
    assert found.told(filename) == (told or url)


def test_without_an_account_a_blob_is_told_by_its_container() -> None:
    found = destinations.of({"azure_blob_upload": {"container": "c"}})
    assert found is not None
    assert found.told("a.png") == "az://c/a.png"


@pytest.mark.parametrize("fields", [{}, {"s3": None}, {"priority": 1}])
def test_no_destination(fields: dict[str, Any]) -> None:
    assert destinations.of(fields) is None


def test_what_goes_along() -> None:
    found = destinations.of({"s3": {"bucket": "b", "prefix": "", "async": True, "presign_s": 60}})
    assert found is not None
    assert (found.is_async, found.presign_s, found.location) == (True, 60, "s3")
    http = destinations.of({"http_upload": {"url_prefix": "https://h"}})
    assert http is not None
    assert (http.is_async, http.presign_s, http.location) == (False, None, "http_upload.url_prefix")


def test_user_and_password_become_a_credential() -> None:
    given = {"id": "1", "http_upload": {"url_prefix": "https://u:p%40ss@h/x/", "async": True}}
    fields, found = destinations.without_user(given)
    assert fields == {"id": "1", "http_upload": {"url_prefix": "https://h/x/", "async": True}}
    destination = destinations.of(fields)
    assert destination is not None
    auth = matching(found, destination.url("a.png"))
    assert auth is not None
    assert auth.model_dump() == {"type": "basic", "username": "u", "password": "p@ss"}
    assert matching(found, "https://other/x/a.png") is None


@pytest.mark.parametrize(
    "fields", [{}, {"http_upload": None}, {"http_upload": {"url_prefix": "https://h/a@b"}}]
)
def test_nothing_to_take_out(fields: dict[str, Any]) -> None:
    assert destinations.without_user(fields) == (fields, [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        (["a.png", "b.png"], ["a.png", "b.png"]),
        (["a.png", "a.png", "a.png"], ["a.png", "a_1.png", "a_2.png"]),
        (["a.png", "a.png", "a_1.png"], ["a.png", "a_2.png", "a_1.png"]),
        (["a", "a", ".b", ".b"], ["a", "a_1", ".b", ".b_1"]),
        (["a.tar.gz", "a.tar.gz"], ["a.tar.gz", "a.tar_1.gz"]),
    ],
)
def test_names(given: list[str], expected: list[str]) -> None:
    assert destinations.names(given) == expected


@pytest.mark.parametrize(
    ("delivered", "expected"),
    [
        ([], []),
        (["a.png", "a_1.png"], ["a.png.json", "a_1.png.json"]),
        (["a", "a.json"], ["a_1.json", "a.json.json"]),
    ],
)
def test_sidecar_names(delivered: list[str], expected: list[str]) -> None:
    assert destinations.sidecar_names(delivered) == expected
