"""Secrets that keep names and fingerprints from telling what they were made of."""

from __future__ import annotations

import os
from pathlib import Path

_BYTES = 32


def read(path: Path) -> bytes:
    """Return the secret in `path`, which is made at the first start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = path.read_bytes()
        if len(found) == _BYTES:
            return found
        # A kill between making and writing it left it short.
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
    fresh = os.urandom(_BYTES)
    with os.fdopen(handle, "wb") as file:
        file.write(fresh)
    return fresh
