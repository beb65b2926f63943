"""What the object stores have in common: obstore's calls behind the provider's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cachetools import TTLCache

from gateway import errors
from gateway.schemas import Auth
from gateway.storage import address
from gateway.storage.failures import MISMATCH, TransferFailed, Verdict
from gateway.storage.objectstore_failures import Words, translating
from gateway.storage.provider import WHOLE, ProviderName, Reply, Span, Stat

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    Store = S3Store | GCSStore | AzureStore

Purpose = Literal["read", "write"]

CHUNK_BYTES = 1 << 18
#: The least that S3 takes as a part of a larger file.
_PART_BYTES = 5 << 20
#: S3 takes 10,000 parts, Azure 50,000.
_MOST_PARTS = 9_000
_PARTS_AT_ONCE = 4
#: Clients that are kept: they hold connections, and callers' credentials.
_KEPT, _KEPT_S = 32, 300.0
_LONGEST_KEY = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Place:
    """Where an object lies."""

    container: str
    key: str
    #: The URL of the storage, where the object's own URL names it.
    endpoint: str | None = None


@dataclass(frozen=True)
class ObjectReply:
    """The body of an object on its way."""

    start: int
    stat: Stat
    result: GetResult
    words: Words

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; raises TransferFailed."""
        stream = self.result.stream(min_chunk_size=CHUNK_BYTES)
        while True:
            with translating(self.words):
                try:
                    chunk = await anext(stream)
                except StopAsyncIteration:
                    return
            yield bytes(chunk)


class ObjectStoreProvider(ABC):
    """A storage of containers and keys; the subclass says where, and with which credentials."""

    name: ClassVar[ProviderName]
    words: ClassVar[Words]

    def __init__(self) -> None:
        self._stores: TTLCache[Any, Store] = TTLCache(_KEPT, _KEPT_S)

    @abstractmethod
    def place(self, url: str) -> Place:
        """Return what a URL names; raises TransferFailed."""

    @abstractmethod
    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what a write to this URL lacks, as a sentence; None when it lacks nothing."""

    @abstractmethod
    async def _options(self, place: Place, auth: Auth | None) -> dict[str, Any]:
        """Return what the client is made of; raises TransferFailed. Asked at every use."""

    @abstractmethod
    def _made(self, place: Place, options: dict[str, Any]) -> Store:
        """Return a client; called in a thread."""

    def check(self, url: str, location: str | None = None) -> None:
        """Raise InvalidInput when the URL names no object."""
        try:
            self.place(url)
        except TransferFailed as failure:
            raise errors.InvalidInput(
                f"{address.shown(url)} names no file in {self.words.service}: "
                f"{failure.verdict.reason}.",
                hint=failure.verdict.hint,
                location=location,
            ) from None

    async def stat(self, url: str, auth: Auth | None) -> Stat:
        """Return what the storage says of an object; raises TransferFailed."""
        place = self.place(url)
        store = await self._store(place, auth, "read")
        try:
            return _stat(await self._asked(store, place, {"head": True}), place)
        except TransferFailed as failure:
            if failure.verdict.retryable:
                raise
        # A HEAD's answer has no body, and so no reason: the same asked with GET has one.
        return _stat(await self._asked(store, place, {}), place)

    @contextlib.asynccontextmanager
    async def read(self, url: str, auth: Auth | None, span: Span = WHOLE) -> AsyncIterator[Reply]:
        """Ask for a part of an object; raises TransferFailed."""
        place = self.place(url)
        store = await self._store(place, auth, "read")
        result = await self._asked(store, place, _options_of(span))
        found = _stat(result, place)
        if span.version is not None and found.version != span.version:
            # A storage may ignore If-Match: two versions must never be stitched together.
            raise TransferFailed(MISMATCH)
        yield ObjectReply(result.range[0], found, result, self.words)

    async def write(self, url: str, auth: Auth | None, source: Path, content_type: str) -> None:
        """Upload a file; raises TransferFailed, and OSError when it cannot be read here."""
        import obstore

        place = self.place(url)
        missing = self.is_configured(url, auth)
        if missing:
            reason = f"{self.words.service} is not configured for uploads"
            raise TransferFailed(Verdict(reason, "url", hint=missing))
        # A file that is not here must not read as one that the storage lacks.
        size = (await asyncio.to_thread(source.stat)).st_size
        store = await self._store(place, auth, "write")
        with translating(self.words):
            await obstore.put_async(
                store,
                place.key,
                source,
                attributes={"Content-Type": content_type},
                chunk_size=max(_PART_BYTES, -(-size // _MOST_PARTS)),
                max_concurrency=_PARTS_AT_ONCE,
            )

    async def presign(self, url: str, auth: Auth | None, seconds: int) -> str:
        """Return a link to an object that lives for so long; raises TransferFailed."""
        import obstore

        place = self.place(url)
        missing = self.is_configured(url, auth)
        if missing:
            raise TransferFailed(
                Verdict("no link can be signed without credentials", "url", hint=missing)
            )
        store = await self._store(place, auth, "read")
        with translating(self.words):
            return await obstore.sign_async(store, "GET", place.key, timedelta(seconds=seconds))

    async def close(self) -> None:
        """Let go of the connections."""
        self._stores.clear()

    async def _asked(self, store: Store, place: Place, options: GetOptions) -> GetResult:
        import obstore

        with translating(self.words):
            return await obstore.get_async(store, place.key, options=options)

    async def _store(self, place: Place, auth: Auth | None, purpose: Purpose) -> Store:
        # Asked before each use, kept or not: what a caller's address leads to may change.
        options = await self._options(place, auth)
        key = (place.container, place.endpoint, auth, purpose)
        found = self._stores.get(key)
        if found is None:
            settled = {"client_options": client_options(purpose), "retry_config": retries(purpose)}
            joint = settled | options
            joint["client_options"] = {
                **settled["client_options"],
                **options.get("client_options", {}),
            }
            found = await asyncio.to_thread(self._built, place, joint)
            self._stores[key] = found
        return found

    def _built(self, place: Place, options: dict[str, Any]) -> Store:
        with translating(self.words):
            return self._made(place, options)


def client_options(purpose: Purpose) -> ClientConfig:
    """Return how long the library waits; a part that is being sent is not silence."""
    stall = 30 if purpose == "read" else 300
    return {
        "connect_timeout": "10s",
        "read_timeout": f"{stall}s",
        "timeout": "7d",
        "user_agent": "comfy-gateway",
    }


def retries(purpose: Purpose) -> RetryConfig:
    """Return how often the library tries again; whole reads are tried again by their callers."""
    return {
        "max_retries": 0 if purpose == "read" else 3,
        "retry_timeout": timedelta(seconds=60),
        "backoff": {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=5),
        },
    }


def split(url: str, scheme: str, container: re.Pattern[str], words: Words) -> Place:
    """Return the parts of `scheme://container/key`, both as written; raises TransferFailed."""
    prefix = f"{scheme}://"
    bare = url[len(prefix) :] if url.lower().startswith(prefix) else ""
    name, _, key = bare.partition("/")
    return placed(name, key, container, words, form=f"{prefix}{words.container}/key")


def placed(
    name: str, key: str, container: re.Pattern[str], words: Words, *, form: str, **more: str
) -> Place:
    """Return a place whose parts are well-formed; raises TransferFailed that says which is not."""
    problem, naming = None, ""
    if not container.fullmatch(name):
        problem = f"it has no valid name of a {words.container}"
        naming = f" The name of a {words.container} has {words.naming}."
    elif not key:
        problem = "it has no key"
    elif any(part in ("", ".", "..") for part in key.split("/")):
        # HTTP clients fold these away, and another object would be meant.
        problem = "its key has an empty part, or one that is . or .."
    elif len(key.encode(errors="replace")) > _LONGEST_KEY or _CONTROL.search(key):
        problem = f"its key is longer than {_LONGEST_KEY} bytes, or has control characters"
    if problem:
        raise TransferFailed(Verdict(problem, "url", hint=f"Write it as {form}.{naming}"))
    return Place(name, key, **more)


def _options_of(span: Span) -> GetOptions:
    found: GetOptions = {}
    if span.end is not None:
        found["range"] = (span.start, span.end)
    elif span.start:
        found["range"] = {"offset": span.start}
    if span.version is not None:
        found["if_match"] = span.version
    return found


def _stat(result: GetResult, place: Place) -> Stat:
    tag = result.meta["e_tag"]
    told = result.attributes.get("Content-Type")
    return Stat(
        size=result.meta["size"],
        version=None if tag is None or tag.startswith("W/") else tag,
        content_type=str(told) if told else None,
        filename=place.key.rpartition("/")[2],
        is_ranged=True,
    )
