"""How a command fails: one sentence, a hint, exit status 1."""

from __future__ import annotations


class CommandFailed(Exception):
    """The command could not do what it was asked for."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """`hint` says what the reader can do about it."""
        self.message = message
        self.hint = hint
        super().__init__(message)
