"""What an Accept header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.pictures import accepted_types

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", []),
        ("*/*", []),
        ("application/json", []),
        ("application/*", []),
        ("text/html", []),
        ("image/png", ["image/png"]),
        ("IMAGE/PNG", ["image/png"]),
        ("image/*", ["image/*"]),
        ("video/mp4, audio/*", ["video/mp4", "audio/*"]),
        ("multipart/mixed", ["multipart/mixed"]),
        ("image/png, application/json", ["image/png"]),
        ("application/json, image/png", []),
        ("application/json;q=0.5, image/png", ["image/png"]),
        ("image/png;q=0.5, application/json", []),
        ("image/png;q=0.5, image/webp;q=0.9, */*;q=0.1", ["image/webp", "image/png"]),
        ("image/png;q=0", []),
        ("image/png; q=0, image/webp", ["image/webp"]),
        ("image/png;q=x, image/webp", ["image/webp"]),
        ("image/png;q=nan", []),
        ("image/png ; level=1 ; q=0.3", ["image/png"]),
        (",,;q=1,", []),
        (BROWSER, ["image/avif", "image/webp"]),
    ],
)
def test_accepted_types(accept: str, expected: list[str]) -> None:
    assert accepted_types(accept) == expected


@given(st.text(alphabet="image/png*;q=0.19, xn"))
def test_no_header_raises(accept: str) -> None:
    accepted_types(accept)
