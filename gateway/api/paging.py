"""The queries of lists that come a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from gateway import errors

_MOST = 200

_State = TypeVar("_State", bound=StrEnum)


def state(query: Mapping[str, str], kind: type[_State]) -> _State | None:
    """Return the state that is asked for; raises InvalidRequest."""
    given = query.get("state")
    if given is not None and given not in list(kind):
        raise errors.InvalidRequest(
            f"state is one of {', '.join(kind)}; {given[:50]!r} is not.", location="state"
        )
    return kind(given) if given else None


def limit(query: Mapping[str, str]) -> int:
    """Return how many may stand on a page; raises InvalidRequest."""
    given = query.get("limit", "50")
    if not (given.isascii() and given.isdigit() and len(given) < 9 and 1 <= int(given) <= _MOST):
        raise errors.InvalidRequest(f"limit is 1 to {_MOST}.", location="limit")
    return int(given)


def cursor(query: Mapping[str, str]) -> str | None:
    """Return where the page begins; raises InvalidRequest."""
    given = query.get("cursor")
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise errors.InvalidRequest(
            "cursor is the next_cursor of another answer.", location="cursor"
        )
    return given
