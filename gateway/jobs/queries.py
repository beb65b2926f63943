"""Reads the .sql files: each statement under its name, each migration under its number."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable

#: The files of statements.
FILES = ("queries.sql", "queue.sql", "generations.sql")

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def load() -> dict[str, str]:
    """Return name -> statement."""
    parts = [part for file in FILES for part in _NAME.split(read(file))[1:]]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def read(name: str) -> str:
    """Return the text of a file beside this one."""
    return resources.files("gateway.jobs").joinpath(name).read_text()


def migrations() -> list[str]:
    """Return the steps from schema.sql to the newest form, in their order."""
    folder = resources.files("gateway.jobs").joinpath("migrations")
    steps = sorted((step for step in folder.iterdir() if step.name.endswith(".sql")), key=_number)
    return [step.read_text() for step in steps]


def _number(step: Traversable) -> str:
    return step.name
