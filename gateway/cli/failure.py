"""How a command fails: one sentence, a hint, exit status 1."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class CommandFailed(Exception):
    """The command could not do what it was asked for."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """`hint` says what the reader can do about it."""
        self.message = message
        self.hint = hint
        super().__init__(message)


def plain(text: str) -> str:
    """Return a text that a terminal only shows: names in files may hold what moves its cursor."""
    # They may also hold bytes that are no characters.
    return _CONTROL.sub("\ufffd", text).encode(errors="replace").decode()
