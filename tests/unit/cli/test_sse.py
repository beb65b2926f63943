"""Server-Sent Events, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.sse import Event, EventTooLong, Parser

STREAM = (
    "\N{BOM}: hello\n\n"
    "id: 1\nevent: state\ndata: {}\n\n"
    "data: two\ndata\ndata:  lines \u20ac\U0001f408\n\n"
    ": keep-alive\n\n"
    "id\nevent: dropped\n\n"
    "retry: 10\nunknown: x\ndata:no space\n\n"
    "id: a\0b\ndata: d\n\n"
    "data: never ended"
)
EVENTS = [
    Event("state", "{}", "1"),
    Event("message", "two\n\n lines \u20ac\U0001f408", "1"),
    Event("message", "no space", ""),
    Event("message", "d", ""),
]


def parsed(chunks: list[bytes]) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_line_end(end: str) -> None:
    # The last blank line may be half a \r\n: only what follows shows that it is not.
    assert parsed([STREAM.replace("\n", end).encode()]) == EVENTS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_at_a_time(end: str) -> None:
    raw = STREAM.replace("\n", end).encode()
    assert parsed([bytes([byte]) for byte in raw]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM.encode()) * 2)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_cut_anywhere(cuts: list[int], end: str) -> None:
    raw = STREAM.replace("\n", end).encode()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    assert parsed([raw[a:b] for a, b in pairwise(edges)]) == EVENTS


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_break_it(chunks: list[bytes]) -> None:
    parsed(chunks)


def test_a_broken_letter_is_replaced() -> None:
    assert parsed([b"data: \xff\n\n"]) == [Event("message", "\N{REPLACEMENT CHARACTER}")]


@pytest.mark.parametrize("piece", [b"data: x", b"xxxx", b": x", b"data: x\n", b"event:"])
def test_an_endless_event_is_bounded(piece: bytes) -> None:
    parser = Parser(most_bytes=1000)
    with pytest.raises(EventTooLong):
        [parser.feed(piece) for _ in range(2000)]


def test_a_long_event_is_taken() -> None:
    data = "x" * 3_000_000
    raw = f"data: {data}\n\n".encode()
    assert parsed([raw[i : i + 1000] for i in range(0, len(raw), 1000)]) == [Event("message", data)]
