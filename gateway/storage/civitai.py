"""Civitai: download links that lead to signed URLs, and the hashes that its API tells."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
from cachetools import LRUCache

from gateway.schemas import Auth
from gateway.storage.failures import GIVEN_TOKEN, TransferFailed, Verdict
from gateway.storage.http import HttpProvider
from gateway.storage.provider import WHOLE, Described, ProviderName, Reply, Span, Stat

HOSTS = ("civitai.com", "civitai.green", "civitai.red")
_DOWNLOAD = re.compile(r"/api/download/models/(\d+)/?")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_ANSWER_BYTES = 4 << 20
_ANSWER_S = 10.0
_REMEMBERED = 1024
_PICKERS = ("type", "format", "size", "fp")
_GIVEN = GIVEN_TOKEN.replace("a matching url_pattern", "url_pattern https://civitai.com/**")
_HINT = (
    f"Give a token: {_GIVEN}, or ?token= in the URL. "
    "Tokens are made at https://civitai.com/user/account; some files also need early access."
)
_NO_UPLOADS = Verdict("Civitai takes no uploads", "url", hint="Name another destination.")


def matches(url: str, hosts: tuple[str, ...] = HOSTS) -> bool:
    """Whether a URL is a download link of Civitai."""
    return _version_of(url, hosts) is not None


def _version_of(url: str, hosts: tuple[str, ...]) -> str | None:
    try:
        split = urlsplit(url)
        named = {(split.hostname or "").rstrip("."), f"{split.hostname}:{split.port}"}
    except ValueError:
        return None
    found = _DOWNLOAD.fullmatch(split.path)
    is_ours = split.scheme.lower() in ("http", "https") and named & set(hosts)
    return found[1] if found and is_ours else None


class CivitaiProvider:
    """Files behind Civitai's download links."""

    name: ClassVar[ProviderName] = "civitai"

    def __init__(self, http: HttpProvider, hosts: tuple[str, ...] = HOSTS) -> None:
        """`hosts` are names, or names with a port."""
        self._http = http
        self._hosts = hosts
        self._hashes: LRUCache[str, str | None] = LRUCache(_REMEMBERED)

    async def close(self) -> None:
        """Nothing is held."""

    def matches(self, url: str) -> bool:
        """Whether a URL is a download link of Civitai."""
        return matches(url, self._hosts)

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told without asking anyone: InvalidInput, InputNotFetched."""
        self._http.check(url, location)

    async def stat(self, url: str, auth: Auth | None) -> Stat:
        """Return what Civitai says of a file; raises TransferFailed."""
        with _explained():
            found = await self._http.stat(url, auth)
        return replace(found, sha256=await self._hash(url, auth))

    @contextlib.asynccontextmanager
    async def read(self, url: str, auth: Auth | None, span: Span = WHOLE) -> AsyncIterator[Reply]:
        """Ask for a file, or a part of it; raises TransferFailed."""
        with _explained():
            async with self._http.read(url, auth, span) as found:
                sha256 = self._hashes.get(url) if span.start else await self._hash(url, auth)
                yield Described(found, replace(found.stat, sha256=sha256))

    async def write(self, url: str, auth: Auth | None, source: Path, content_type: str) -> None:
        """Raise TransferFailed: there is no such thing."""
        raise TransferFailed(_NO_UPLOADS)

    async def _hash(self, url: str, auth: Auth | None) -> str | None:
        """Return the file's SHA-256 in hex; None when the API fails or does not tell."""
        if url not in self._hashes:
            with contextlib.suppress(TransferFailed, TimeoutError, orjson.JSONDecodeError):
                async with asyncio.timeout(_ANSWER_S):
                    self._hashes[url] = sha256_of(await self._asked(url, auth), url)
        return self._hashes.get(url)

    async def _asked(self, url: str, auth: Auth | None) -> Any:
        split = urlsplit(url)
        secrets = [pair for pair in parse_qsl(split.query) if pair[0] == "token"]
        path = f"/api/v1/model-versions/{_version_of(url, self._hosts)}"
        target = split._replace(path=path, query=urlencode(secrets), fragment="").geturl()
        body = bytearray()
        async with self._http.read(target, auth) as reply:
            async for chunk in reply.chunks():
                body += chunk
                if len(body) > _ANSWER_BYTES:
                    return None
        return orjson.loads(body)


def sha256_of(answer: Any, url: str) -> str | None:
    """Return the hash of the file that a download link means, out of the API's answer."""
    wanted = {name: value for name, value in parse_qsl(urlsplit(url).query) if name in _PICKERS}
    files = _list_of(answer)
    same = [file for file in files if _picked(file.get("downloadUrl")) == _picked(url)]
    fitting = [file for file in files if wanted and _fits(file, wanted)]
    chosen = same or fitting or ([] if wanted else files)
    primary = [file for file in chosen if file.get("primary") is True]
    if len(chosen) > 1:
        chosen = primary
    # A hash of the wrong file would refuse the right one.
    hashes = chosen[0].get("hashes") if len(chosen) == 1 else None
    found = hashes.get("SHA256") if isinstance(hashes, Mapping) else None
    return found.lower() if isinstance(found, str) and _SHA256.fullmatch(found) else None


def _list_of(answer: Any) -> list[Mapping[str, Any]]:
    found = answer.get("files") if isinstance(answer, Mapping) else None
    files = found if isinstance(found, list) else []
    return [file for file in files if isinstance(file, Mapping)]


def _picked(url: Any) -> tuple[str, frozenset[tuple[str, str]]] | None:
    if not isinstance(url, str):
        return None
    split = urlsplit(url)
    pairs = (pair for pair in parse_qsl(split.query) if pair[0] in _PICKERS)
    return split.path, frozenset(pairs)


def _fits(file: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    metadata = file.get("metadata")
    told = {"type": file.get("type"), **(metadata if isinstance(metadata, Mapping) else {})}
    return all(str(told.get(name)).lower() == value.lower() for name, value in wanted.items())


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say with a refusal what Civitai wants."""
    try:
        yield
    except TransferFailed as failure:
        if not failure.verdict.is_refused:
            raise
        raise TransferFailed(replace(failure.verdict, hint=_HINT)) from None
