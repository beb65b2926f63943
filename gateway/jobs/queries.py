"""Reads queries.sql: each statement under its name."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def load() -> dict[str, str]:
    """Return name -> statement."""
    parts = _NAME.split(read("queries.sql"))[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def read(name: str) -> str:
    """Return the text of a file beside this one."""
    return resources.files("gateway.jobs").joinpath(name).read_text()
