from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfy.output import LINE_BYTES, Lines

BAR = b"".join(b"\r %d%%|###| %d/20" % (5 * n, n) for n in range(1, 21))

CASES: list[tuple[bytes, list[str]]] = [
    (b"", []),
    (b"one\ntwo\n", ["one", "two"]),
    (b"one\n\n  \ntwo", ["one", "two"]),
    (b"windows\r\nlines\r\n", ["windows", "lines"]),
    (BAR + b"\n", [" 100%|###| 20/20"]),
    (BAR + b"\r\n", [" 100%|###| 20/20"]),
    (BAR, [" 100%|###| 20/20"]),
    (b"\x1b[32mgreen\x1b[0m\n", ["green"]),
    ("Grüße\n".encode(), ["Grüße"]),
    (b"broken \xff\xfe\n", ["broken \ufffd\ufffd"]),
    (b"a\0b\n", ["a\0b"]),
    (b"x" * (LINE_BYTES + 1) + b"\nnext\n", ["x" * LINE_BYTES + " ... (cut)", "next"]),
    (b"x" * LINE_BYTES + b"\nnext\n", ["x" * LINE_BYTES, "next"]),
    (BAR * 500 + b"\nnext\n", [" 100%|###| 20/20", "next"]),
]


def lines_of(data: bytes, step: int) -> list[str]:
    lines = Lines()
    found = []
    for start in range(0, len(data), step):
        found += lines.feed(data[start : start + step])
    return found + lines.close()


@pytest.mark.parametrize("step", [1, 7, 4096, 10**6])
@pytest.mark.parametrize(("data", "expected"), CASES)
def test_lines(data: bytes, expected: list[str], step: int) -> None:
    assert lines_of(data, step) == expected


def test_a_line_without_end_is_not_kept_whole() -> None:
    lines = Lines()
    found = [line for _ in range(1000) for line in lines.feed(b"x" * 65536)]

    assert [len(line) < LINE_BYTES + 20 for line in found] == [True]
    assert lines.feed(b"\nnext\n") == ["next"]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_it_does_not_matter_how_the_bytes_arrive(data: bytes, step: int) -> None:
    assert lines_of(data, step) == lines_of(data, 10**6)
