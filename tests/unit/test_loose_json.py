"""JSON as ComfyUI and its nodes write it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import loose_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, "é"]}', {"a": [1, "é"]}),
        ("[NaN, Infinity, -Infinity, 1.5]", [None, None, None, 1.5]),
        ("[NaN, 1e999, -1e999]", [None, None, None]),
        ('[NaN, "\\ud800", {"\\udfff": 1}]', [None, "\ufffd", {"\ufffd": 1}]),
        (f"[NaN, {2**64}, {-(2**63)}, {10**400}]", [None, float(2**64), -(2**63), None]),
        (f"{'[' * 300}NaN{']' * 300}", json.loads(f"{'[' * 300}null{']' * 300}")),
    ],
)
def test_what_is_read(text: str, value: Any) -> None:
    assert loose_json.parse(text) == value
    assert loose_json.parse(text.encode()) == value


@pytest.mark.parametrize("text", ["", "{", "nan", b"\xff"])
def test_what_is_none(text: str | bytes) -> None:
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        loose_json.parse(text)
