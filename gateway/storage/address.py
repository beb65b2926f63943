"""URLs as callers write them: parsed, fit to be shown, and with what a fetch sends along."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from yarl import URL

from gateway import errors, graph
from gateway.schemas import Auth, BasicAuth, BearerAuth, HeaderAuth, QueryAuth

URL_LENGTH = 8192
_PORTS = {"http": 80, "https": 443}
_STORED = set(graph.SCHEMES) - set(_PORTS)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]+(%25[A-Za-z0-9._-]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECRET = re.compile(r"(?i)token|secret|key|sig|pass|pwd|auth|cred|jwt|session")
_SHOWN = 300


def parse(url: str, location: str | None = None) -> URL:
    """Return an http(s) URL; raises InvalidInput."""
    scheme = url.partition(":")[0].lower()
    parsed = _parsed(url)
    if scheme not in _PORTS or parsed is None:
        raise errors.InvalidInput(
            f"{_cut(url, 80)!r} is not a URL that can be fetched.",
            hint="A URL is http://host/path or https://host/path.",
            location=location,
        )
    return parsed


def _parsed(url: str) -> URL | None:
    if len(url) > URL_LENGTH or _CONTROL.search(url):
        return None
    try:
        parsed = _verbatim(url).with_fragment(None)
        port = parsed.port
    except ValueError:
        return None
    host = parsed.raw_host
    return parsed if host and port and _HOST.fullmatch(host) and _is_name(parsed) else None


def _is_name(url: URL) -> bool:
    """Whether each part of the host has a length and letters that a look-up takes."""
    try:
        (url.raw_host or "").encode("idna")
        # Reading it turns an xn-- into letters, and fails for what is none.
        return bool(url.host)
    except UnicodeError:
        return False


def _verbatim(url: str) -> URL:
    # What the caller escaped stays as it is: signed URLs break when they are rewritten.
    return URL(url.replace(" ", "%20"), encoded=url.isascii())


def joined(base: URL, target: str) -> URL | None:
    """Return where a redirect leads, without user and password; None when it is not http(s)."""
    try:
        found = _parsed(str(base.join(_verbatim(target))))
    except ValueError:
        return None
    return found.with_user(None) if found and found.scheme in _PORTS else None


def parted(url: str) -> tuple[str, str | None]:
    """Return a URL as written less user and password, and these as written; None for none."""
    scheme, joint, rest = url.partition("://")
    # The @ of hf://name@revision parts a name from its revision.
    if scheme.lower() == "hf":
        return url, None
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    return (f"{scheme}{joint}{rest[len(user) + 1 :]}", user) if at else (url, None)


def shown(url: URL | str) -> str:
    """Return a URL as answers and logs may name it: no user, no password, no secret's value."""
    parsed = _parsed(url) or _stored(url) if isinstance(url, str) else url
    if parsed is None:
        return "the URL"
    text = str(_without_user(parsed).with_query(None))
    pairs = [pair.partition("=") for pair in parsed.raw_query_string.split("&") if pair]
    query = "&".join(
        f"{name}=***" if _SECRET.search(name) else f"{name}{equals}{value}"
        for name, equals, value in pairs
    )
    return _cut(f"{text}?{query}" if query else text, _SHOWN)


def _stored(url: str) -> URL | None:
    """Return a URL of a storage that has no port."""
    if len(url) > URL_LENGTH or _CONTROL.search(url):
        return None
    try:
        parsed = _verbatim(url).with_fragment(None)
    except ValueError:
        return None
    is_named = parsed.scheme in _STORED and (parsed.raw_host or parsed.scheme == "file")
    return parsed if is_named else None


def _without_user(url: URL) -> URL:
    return url if url.raw_user is None and url.raw_password is None else url.with_user(None)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


@dataclass(frozen=True)
class OperatorHeader:
    """The operator's own header, and the hosts that get it; `*` for all."""

    name: str
    value: str
    hosts: tuple[str, ...]

    def fits(self, url: URL) -> bool:
        """Whether this URL's host gets it."""
        host = (url.raw_host or "").lower()
        named = {entry.lower() for entry in self.hosts}
        return bool(named & {"*", host, f"{host}:{url.port}"})


@dataclass(frozen=True)
class Secrets:
    """What one hop of a fetch sends: headers, and parameters of the query."""

    headers: Mapping[str, str]
    query: tuple[tuple[str, str], ...] = ()

    def applied(self, url: URL) -> URL:
        """Return the URL with the parameters it lacks, and without user and password."""
        missing = [pair for pair in self.query if pair[0] not in url.query]
        bare = url.with_user(None)
        if not missing:
            return bare
        joint = "&" if bare.raw_query_string else "?"
        return URL(f"{bare}{joint}{urlencode(missing)}", encoded=True)


NO_SECRETS = Secrets({})


def secrets_of(url: URL, auth: Auth | None) -> Secrets:
    """Return what a caller's credentials come to; `auth` wins over the URL's own user."""
    match auth:
        case BearerAuth():
            return Secrets({"Authorization": f"Bearer {auth.token}"})
        case BasicAuth():
            return Secrets({"Authorization": _basic(auth.username, auth.password)})
        case HeaderAuth():
            return Secrets({auth.header_name: auth.header_value})
        case QueryAuth():
            return Secrets({}, ((auth.query_param, auth.query_value),))
        case None if url.user is not None:
            return Secrets({"Authorization": _basic(url.user, url.password or "")})
        case None:
            return NO_SECRETS
    raise errors.InvalidInput(
        f"Credentials of type {auth.type} do not fit an http URL.",
        hint="Use bearer, basic, header or query.",
    )


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def keeps_secrets(before: URL, after: URL) -> bool:
    """Whether credentials may follow a redirect: same host, and never down to plain http."""
    if (before.raw_host or "").lower() != (after.raw_host or "").lower():
        return False
    if before.scheme == after.scheme:
        return before.port == after.port
    upgraded = (before.scheme, after.scheme) == ("http", "https")
    return upgraded and before.port == 80 and after.port == 443
