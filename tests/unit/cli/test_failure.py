"""What a terminal is given to show."""

from __future__ import annotations

import pytest

from gateway.cli.failure import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tof text", "two\nlines\tof text"),
        ("a title\x1b]0;x\x07", "a title\ufffd]0;x\ufffd"),
        ("back\rto the start", "back\ufffdto the start"),
        ("half \ud800", "half ?"),
        ("日本", "日本"),
    ],
)
def test_it_only_shows(text: str, shown: str) -> None:
    assert plain(text) == shown
