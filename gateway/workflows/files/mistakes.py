"""What is wrong in a file of the folder, and where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway import marks

_SHOWN = 12
_LONGEST = 80


@dataclass(frozen=True, order=True)
class Mistake:
    """What is wrong in a file of the folder; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, column {self.column}: {self.message}"


@dataclass(frozen=True)
class Spot:
    """A value in a file of YAML, and where it stands."""

    file: str
    document: marks.Document
    value: Any
    path: marks.Path = ()

    def at(self, step: str | int) -> Spot:
        """Return what this holds under a key, or at an index."""
        return Spot(self.file, self.document, self.value[step], (*self.path, step))

    def mistake(self, sentence: str) -> Mistake:
        """Return what is wrong with the value."""
        place = self.document.place(self.path)
        return Mistake(self.file, place.line, place.column, sentence)

    def mistake_of_key(self, sentence: str) -> Mistake:
        """Return what is wrong with the key that it stands under."""
        place = self.document.place_of_key(self.path)
        return Mistake(self.file, place.line, place.column, sentence)


def spot(file: str, text: str) -> tuple[Spot, list[Mistake]]:
    """Return all that a text of YAML says, and what is wrong with it as YAML."""
    document = marks.read(text)
    wrong = [
        Mistake(file, found.place.line, found.place.column, found.sentence)
        for found in sorted(set(document.mistakes))
    ]
    return Spot(file, document, document.value), wrong


def shown(value: Any) -> str:
    """Return a value as a sentence may hold it."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def near(name: str, known: Iterable[str]) -> str:
    """Say which name was perhaps meant, else which there are."""
    names = list(known)
    lower = {known_name.lower(): known_name for known_name in names}
    close = difflib.get_close_matches(name[:_LONGEST].lower(), lower, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lower[close[0]]}?"
    if not names:
        return "there is none"
    more = ", …" if len(names) > _SHOWN else ""
    return f"there is {', '.join(names[:_SHOWN])}{more}"
