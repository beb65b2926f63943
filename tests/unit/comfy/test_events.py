"""Frames of ComfyUI: read leniently, and never raising."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfy import events
from gateway.comfy.events import Frame, Preview

DEEP = "[" * 100_000
PICTURE = b"\xff\xd8picture"


def metadata(text: str | bytes, picture: bytes = PICTURE) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(">II", 4, len(raw)) + raw + picture


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"type":"a","data":{"x":1}}', Frame("a", {"x": 1})),
        ('{"type":"a","data":null}', Frame("a", {})),
        ('{"type":"a","data":[1]}', Frame("a", {})),
        ('{"type":"a"}', Frame("a", {})),
        ('{"type":"a","data":{"x":NaN,"y":-Infinity}}', Frame("a", {"x": None, "y": None})),
        (r'{"type":"a","data":{"\ud83d":["x\ud83d\ude00y\ud83d"]}}', Frame("a", {"�": ["x😀y�"]})),
        (
            '{"type":"a","data":{"x":NaN,"y":36893488147419103232}}',
            Frame("a", {"x": None, "y": 2.0**65}),
        ),
        ('{"type":"a","data":{"x":[1e999,1.5]}}', Frame("a", {"x": [None, 1.5]})),
        ('{"type":"a","data":{"x":18446744073709551615}}', Frame("a", {"x": 2**64 - 1})),
        ('{"data":{}}', None),
        ('{"type":5}', None),
        ('{"type":"a"', None),
        ("[]", None),
        ("null", None),
        ("", None),
        (DEEP, None),
        (DEEP.replace("[", '{"a":'), None),
        ('{"type":"a","data":' + DEEP, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_text_frames(text: str, expected: Frame | None) -> None:
    assert events.parse_text(text) == expected


@pytest.mark.parametrize(
    ("data", "expected"), [({"prompt_id": "p"}, "p"), ({"prompt_id": 5}, None), ({}, None)]
)
def test_the_prompt_that_a_frame_is_about(data: dict[str, Any], expected: str | None) -> None:
    assert Frame("a", data).prompt_id == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (struct.pack(">II", 1, 1) + PICTURE, Preview("image/jpeg", PICTURE)),
        (struct.pack(">II", 1, 2) + PICTURE, Preview("image/png", PICTURE)),
        (struct.pack(">II", 1, 2), Preview("image/png", b"")),
        (struct.pack(">II", 1, 3) + PICTURE, None),
        (struct.pack(">II", 2, 1) + PICTURE, None),
        (struct.pack(">I", 1), None),
        (b"", None),
        (metadata('{"image_type":"image/png"}'), Preview("image/png", PICTURE)),
        (metadata("{}"), Preview("image/jpeg", PICTURE)),
        (
            metadata('{"prompt_id":"p","node_id":"7","x":NaN}'),
            Preview("image/jpeg", PICTURE, "p", "7"),
        ),
        (
            metadata('{"prompt_id":["p"],"node_id":7,"image_type":null}'),
            Preview("image/jpeg", PICTURE),
        ),
        (metadata("[]"), None),
        (metadata("nope"), None),
        (metadata(b"\xff\xfe"), None),
        (metadata(DEEP), None),
        (struct.pack(">II", 4, 1000) + b'{"prompt_id":"', None),
        (struct.pack(">II", 4, 2**32 - 1), None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_binary_frames(data: bytes, expected: Preview | None) -> None:
    assert events.parse_binary(data) == expected


@given(st.one_of(st.binary(), st.binary().map(lambda data: struct.pack(">I", 4) + data)))
def test_no_bytes_raise(data: bytes) -> None:
    events.parse_binary(data)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    events.parse_text(text)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_python_writes_is_read_and_finite(value: Any) -> None:
    found = events.parse_text(json.dumps({"type": "a", "data": {"value": value}}))
    assert found is not None
    json.dumps(found.data, allow_nan=False)
