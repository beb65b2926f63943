"""Which credential of a request goes to which URL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from gateway.schemas import Auth, BasicAuth, Credential
from gateway.storage import address

_WILDCARD = re.compile(r"(\*\*|\*|\?)")


def matching(credentials: Sequence[Credential], url: str) -> Auth | None:
    """Return the auth of the first pattern that the whole URL matches, or None."""
    for credential in credentials:
        if matches(credential.url_pattern, url):
            return credential.auth
    return None


def taken_out(url: str) -> tuple[str, Credential | None]:
    """Return the URL without user and password, and these as a credential for it alone.

    What stands in a graph is stored and echoed; credentials are neither.
    """
    bare, user_info = address.parted(url)
    if user_info is None:
        return url, None
    user, _, password = user_info.partition(":")
    auth = BasicAuth(type="basic", username=unquote(user), password=unquote(password))
    return bare, Credential(url_pattern=bare, auth=auth)


def matches(pattern: str, url: str) -> bool:
    """Whether `url` is what `pattern` says: `*` any but `/`, `**` any, `?` one.

    Not by a regular expression: the pattern is the caller's, and must not cost exponential time;
    nor does a long one of a long URL hold up the others.
    """
    parts = [part for part in _WILDCARD.split(pattern) if part]
    literal = sum(len(part) for part in parts if part not in ("*", "**"))
    return literal <= len(url) and _match(parts, url)


def _match(parts: list[str], url: str) -> bool:
    places: dict[str, int] = {}
    for at, letter in enumerate(url):
        places[letter] = places.get(letter, 0) | 1 << at
    everywhere = (1 << len(url)) - 1
    # The positions of the URL that the pattern can have reached so far, a bit for each.
    reached = 1
    for part in parts:
        if part == "**":
            reached = (2 * everywhere + 1) & -(reached & -reached)
        elif part == "*":
            # Adding carries each position on to the end of its segment.
            segments = everywhere & ~places.get("/", 0)
            reached |= (segments + (reached & segments)) ^ segments
        else:
            for letter in part:
                reached = (reached & (everywhere if part == "?" else places.get(letter, 0))) << 1
        if not reached:
            return False
    return bool(reached >> len(url))
