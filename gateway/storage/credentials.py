"""Which credential of a request goes to which URL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from gateway.schemas import Auth, BasicAuth, Credential

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
    head, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user_info, at, _ = authority.rpartition("@")
    if not at:
        return url, None
    bare = f"{head}{separator}{rest[len(user_info) + 1 :]}"
    user, _, password = user_info.partition(":")
    auth = BasicAuth(type="basic", username=unquote(user), password=unquote(password))
    return bare, Credential(url_pattern=bare, auth=auth)


def matches(pattern: str, url: str) -> bool:
    """Whether `url` is what `pattern` says: `*` any but `/`, `**` any, `?` one.

    Not by a regular expression: the pattern is the caller's, and must not cost exponential time.
    """
    return _match(_parts(pattern), url)


def _parts(pattern: str) -> list[str]:
    found: list[str] = []
    for part in _WILDCARD.split(pattern):
        found.extend([part] if _WILDCARD.fullmatch(part) else part)
    return found


def _match(parts: list[str], url: str) -> bool:
    # The positions of the URL that the pattern can have reached so far.
    reachable = {0}
    for part in parts:
        if not reachable:
            return False
        reachable = _after(part, reachable, url)
    return len(url) in reachable


def _after(part: str, starts: set[int], url: str) -> set[int]:
    if part == "**":
        return set(range(min(starts), len(url) + 1))
    if part == "*":
        return _through_segment(starts, url)
    return {at + 1 for at in starts if at < len(url) and part in ("?", url[at])}


def _through_segment(starts: set[int], url: str) -> set[int]:
    ends: set[int] = set()
    for start in starts:
        at = start
        while at not in ends:
            ends.add(at)
            if at == len(url) or url[at] == "/":
                break
            at += 1
    return ends
