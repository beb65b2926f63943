"""Headers of safetensors files: whole ones are read, all others are refused with a reason."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from gateway.embedded.nodes.weights import WeightsFailure, read_header

WHOLE = {"w": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}


def file_of(header: Any, data_bytes: int) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data_bytes)


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(file_of(WHOLE, 12))

    assert read_header(str(path)) == WHOLE


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    path.write_bytes(b"a pickle")

    assert read_header(str(path)) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "header too small"),
        (b"1234567", "header too small"),
        (b"<html>a page, not weights</html>", "header too large"),
        (file_of(WHOLE, 12)[:20], "invalid header length"),
        (file_of(WHOLE, 11), "incomplete metadata, file not fully covered"),
        (file_of(WHOLE, 13), "incomplete metadata, file not fully covered"),
        (file_of(b"{no json", 0), "invalid JSON in header"),
        (file_of([], 0), "invalid JSON in header"),
        (
            file_of({"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 12]}}, 12),
            "invalid shape, data type, or offset for tensor",
        ),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)

    with pytest.raises(WeightsFailure, match=reason):
        read_header(str(path))
