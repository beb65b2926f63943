"""Who brings which bytes."""

from __future__ import annotations

import random

import pytest

from gateway.storage.spans import Piece, Spans


def come(spans: Spans, piece: Piece, size: int) -> None:
    """Let bytes come and be written."""
    piece.is_coming = True
    piece.taken += size
    piece.written = piece.taken
    assert piece.end is None or piece.taken <= piece.end


def test_the_first_takes_all_and_others_half_of_the_largest() -> None:
    spans = Spans(64)

    pieces = [spans.take(8) for _ in range(9)]

    assert [(p.start, p.end) for p in pieces if p] == [
        (0, 8),
        (32, 40),
        (16, 24),
        (48, 56),
        (8, 16),
        (24, 32),
        (40, 48),
        (56, 64),
    ]
    assert pieces[-1] is None


def test_what_is_half_done_is_halved_from_there() -> None:
    spans = Spans(100)
    first = spans.take(10)
    assert first is not None
    come(spans, first, 60)

    half = spans.take(10)

    assert half is not None
    assert (half.start, half.end) == (80, 100)


def test_what_nobody_holds_goes_first() -> None:
    spans = Spans(100, [(0, 10), (40, 90)])

    first, second = spans.take(5), spans.take(5)

    assert first is not None
    assert second is not None
    assert (first.start, first.end) == (10, 40)
    assert (second.start, second.end) == (90, 100)
    assert (spans.done, spans.written()) == (60, [(0, 10), (40, 90)])


def test_a_piece_goes_on_into_one_that_has_not_begun() -> None:
    spans = Spans(100)
    first, second = spans.take(10), spans.take(10)
    assert first is not None
    assert second is not None
    come(spans, first, 50)

    assert spans.absorb(first)

    assert first.end == 100
    assert second.left == 0
    come(spans, first, 50)
    assert spans.is_complete
    assert not spans.absorb(first)


def test_a_piece_that_has_begun_is_left_to_its_holder() -> None:
    spans = Spans(100)
    first, second = spans.take(10), spans.take(10)
    assert first is not None
    assert second is not None
    second.is_coming = True

    assert not spans.absorb(first)
    spans.release(second)
    assert spans.absorb(first)


def test_what_was_not_written_comes_again() -> None:
    spans = Spans(100)
    piece = spans.take(10)
    assert piece is not None
    come(spans, piece, 30)
    piece.taken += 20

    spans.release(piece)

    again = spans.take(10)
    assert again is piece
    assert again.taken == 30


def test_a_file_of_unknown_length_ends_where_its_bytes_do() -> None:
    spans = Spans(None)
    piece = spans.take(1)
    assert piece is not None
    assert spans.take(1) is None
    come(spans, piece, 5)

    spans.end(piece)

    assert (spans.total, spans.is_complete, spans.written()) == (5, True, [(0, 5)])


def test_an_empty_file_is_complete() -> None:
    assert Spans(0).is_complete
    assert Spans(0).take(1) is None


@pytest.mark.parametrize("seed", range(50))
def test_whatever_happens_every_byte_is_written_once(seed: int) -> None:
    chance = random.Random(seed)
    total = chance.randrange(1, 2000)
    spans, held, file = Spans(total), list[Piece](), bytearray(total)
    while not spans.is_complete:
        if len(held) < 5 and (piece := spans.take(chance.randrange(1, 20))):
            held.append(piece)
        piece = chance.choice(held)
        if piece.left == 0 and not (chance.random() < 0.5 and spans.absorb(piece)):
            held.remove(piece)
            spans.release(piece)
            continue
        size = chance.randrange((piece.left or 0) + 1)
        for at in range(piece.taken, piece.taken + size):
            file[at] += 1
        come(spans, piece, size)
        if chance.random() < 0.1:
            held.remove(piece)
            spans.release(piece)

    assert file == b"\1" * total
    assert spans.written() == [(0, total)]
