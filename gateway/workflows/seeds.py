"""Seeds that are drawn; the one thing about a graph that is left to chance."""

from __future__ import annotations

import secrets

#: Exact also where JSON's numbers are read as JavaScript reads them.
_SEEDS = 2**53


def drawn() -> int:
    """Return a seed that nobody chose."""
    return secrets.randbelow(_SEEDS)
