"""Which bytes of a file are here, which are on their way, and which nobody brings yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: From a byte up to but not including another.
Range = tuple[int, int]


@dataclass(eq=False)
class Piece:
    """A part of the file, brought from its start on by whoever holds it."""

    start: int
    #: None where the size of the file is not known.
    end: int | None
    #: The next byte to ask for; all before it have come, and wait to be written.
    taken: int
    #: All bytes before this one are in the file.
    written: int
    is_held: bool = False
    #: Whether its bytes have begun to come: until then its neighbour may go on into it.
    is_coming: bool = False

    @classmethod
    def missing(cls, start: int, end: int | None) -> Piece:
        """Return a piece of which nothing is here."""
        return cls(start, end, start, start)

    @property
    def left(self) -> int | None:
        """Bytes that have not come."""
        return None if self.end is None else self.end - self.taken


class Spans:
    """The pieces of one file, in their order; together they are all of it."""

    def __init__(self, total: int | None, here: Iterable[Range] = ()) -> None:
        """`here` are the ranges that are written already, in their order."""
        self.total = total
        self._pieces: list[Piece] = []
        at = 0
        for start, end in here:
            self._add(at, start)
            self._pieces.append(Piece(start, end, end, end))
            at = end
        if total is None or at < total:
            self._pieces.append(Piece.missing(at, total))

    def _add(self, start: int, end: int) -> None:
        if start < end:
            self._pieces.append(Piece.missing(start, end))

    @property
    def done(self) -> int:
        """Bytes that are written."""
        return sum(piece.written - piece.start for piece in self._pieces)

    @property
    def is_complete(self) -> bool:
        """Whether every byte is written."""
        return self.total is not None and self.done == self.total

    def written(self) -> list[Range]:
        """Return what is written, as few ranges in their order."""
        found: list[Range] = []
        for piece in self._pieces:
            if piece.written == piece.start:
                continue
            if found and found[-1][1] == piece.start:
                found[-1] = (found[-1][0], piece.written)
            else:
                found.append((piece.start, piece.written))
        return found

    def take(self, smallest: int) -> Piece | None:
        """Return a piece to bring: one that nobody holds, else half of the one with most left.

        None when no half would have `smallest` bytes.
        """
        piece = next((p for p in self._pieces if not p.is_held and p.left != 0), None)
        if piece is None:
            piece = self._half(smallest)
        if piece is not None:
            piece.is_held = True
        return piece

    def _half(self, smallest: int) -> Piece | None:
        largest = max(self._pieces, key=lambda piece: piece.left or 0, default=None)
        if largest is None or largest.end is None or (largest.left or 0) < 2 * smallest:
            return None
        middle = largest.taken + (largest.left or 0) // 2
        half = Piece.missing(middle, largest.end)
        largest.end = middle
        self._pieces.insert(self._pieces.index(largest) + 1, half)
        return half

    def release(self, piece: Piece) -> None:
        """Let others bring what is left of a piece."""
        piece.taken = piece.written
        piece.is_held = piece.is_coming = False

    def absorb(self, piece: Piece) -> bool:
        """Let a piece go on into the next one, where nothing has come of that."""
        # One that was absorbed itself has no place any more.
        index = self._pieces.index(piece) + 1 if piece in self._pieces else len(self._pieces)
        if index == len(self._pieces):
            return False
        following = self._pieces[index]
        if following.is_coming or following.taken > following.start:
            return False
        piece.end = following.end
        # Whoever holds it finds that nothing of it is left.
        following.end = following.start
        del self._pieces[index]
        return True

    def end(self, piece: Piece) -> None:
        """Say that the file ends where this piece has come to."""
        piece.end = self.total = piece.taken
