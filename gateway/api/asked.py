"""A request for a job, read and understood before anything is done for it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import orjson
from aiohttp import web

from gateway import clock, errors, graph, metrics, written
from gateway.api.middleware import OWNER
from gateway.api.parts import PARTS, Parts
from gateway.schemas import JobRequest

#: Bodies above this are parsed and hashed in a thread: the loop serves others meanwhile.
LARGE = 256 * 1024
#: Seconds in which a body must have arrived.
BODY_TIMEOUT_S = 300.0
_KEY_LENGTH = 255
_EXAMPLE = '{"prompt": {<node id>: {"class_type": ..., "inputs": {...}}}}'


@dataclass(frozen=True)
class Drawn:
    """A graph that was made for a request, and how the request speaks of it."""

    workflow: graph.Graph
    warnings: list[str] = field(default_factory=list)
    #: Place in the graph -> place in the request, where the two differ: errors name the latter.
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: What stands in the answer beside the request's fields, told of the graph as it was admitted.
    echo: Callable[[graph.Graph], dict[str, Any]] = lambda _: {}
    #: One sentence for each value that is not as the graph's file has it.
    changes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """A request that was understood, before anything was done for it."""

    #: The fields that the caller sent.
    body: dict[str, Any]
    request: JobRequest
    #: Makes the graph. A request that joins a job that is there needs none.
    draw: Callable[[Parts], Awaitable[Drawn]]
    warnings: list[str]
    fingerprint: str
    idempotency_key: str | None
    owner: str | None
    received_at: float
    #: Whether it is asked first if its job is there: the graph costs more than the question.
    looks_first: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody but this connection can ask about the job."""
        return self.request.id is None and self.idempotency_key is None


@dataclass(frozen=True)
class Received:
    """A body that was read, and what tells whether another is the same."""

    body: Any
    fingerprint: str
    idempotency_key: str | None
    owner: str | None
    received_at: float


async def receive(
    request: web.Request, scope: str = "", example: str = _EXAMPLE, *, may_be_empty: bool = False
) -> Received:
    """Read a JSON body; `scope` is what makes the same body another request.

    Raises InvalidJson that shows the `example`, RequestTimeout, InvalidRequest.
    """
    received_at = clock.now()
    raw = await read(request) or (b"{}" if may_be_empty else b"")
    return await of_json(request, raw, received_at, scope, example)


async def of_json(
    request: web.Request, raw: bytes, received_at: float, scope: str = "", example: str = _EXAMPLE
) -> Received:
    """Return a body that was read; raises InvalidJson that shows the `example`."""
    large = len(raw) > LARGE
    parse = partial(_parsed, raw, example, request.app[PARTS].settings.max_json_depth)
    body = await asyncio.to_thread(parse) if large else parse()
    return await received(request, body, body, scope, received_at, is_large=large)


async def received(
    request: web.Request,
    body: Any,
    told: Any,
    scope: str,
    received_at: float,
    *,
    is_large: bool = True,
) -> Received:
    """Return a body that was read; `told` is what makes it the same as another."""
    salt = request.app[PARTS].salt + scope.encode(errors="surrogatepass")
    fingerprint = (
        await asyncio.to_thread(_fingerprint, told, salt) if is_large else _fingerprint(told, salt)
    )
    owner = request.get(OWNER)
    return Received(body, fingerprint, _idempotency_key(request, owner), owner, received_at)


async def read(request: web.Request) -> bytes:
    """Return the whole body; raises RequestTimeout, InvalidJson."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            raw = await request.read()
    except TimeoutError:
        raise errors.RequestTimeout from None
    except web.RequestPayloadError as failure:
        raise errors.InvalidJson(
            f"The body could not be read: {str(failure)[:200]}.",
            hint="Send it whole, and packed as its Content-Encoding says.",
        ) from None
    metrics.bytes_in_total.labels("body").inc(len(raw))
    return raw


def _idempotency_key(request: web.Request, owner: str | None) -> str | None:
    key = request.headers.get("Idempotency-Key")
    # What is no UTF-8 arrives as halves of characters, which are not printable either.
    if key is not None and not (0 < len(key) <= _KEY_LENGTH and key.isprintable()):
        raise errors.InvalidRequest(
            f"Idempotency-Key has 1 to {_KEY_LENGTH} characters, all of them printable.",
            location="Idempotency-Key",
        )
    return None if key is None else f"{owner or ''}:{key}"


def asked(
    received: Received,
    wire: JobRequest,
    warnings: list[str],
    draw: Callable[[Parts], Awaitable[Drawn]],
    *,
    looks_first: bool = False,
) -> Asked:
    """Return a request that was understood."""
    return Asked(
        received.body,
        wire,
        draw,
        warnings,
        received.fingerprint,
        received.idempotency_key,
        received.owner,
        received.received_at,
        looks_first,
    )


def _parsed(raw: bytes, example: str, most: int) -> Any:
    try:
        body = orjson.loads(_in_utf8(raw))
    except orjson.JSONDecodeError as failure:
        raise errors.InvalidJson(
            f"The body is not JSON: {str(failure)[:200]}.",
            hint=f"Send {example}.",
        ) from None
    check_depth(body, most)
    return body


def _in_utf8(raw: bytes) -> bytes:
    """Return JSON as programs on Windows write it, UTF-16 or marked, without its mark."""
    if json.detect_encoding(raw) == "utf-8" or not written.is_json(raw):
        return raw
    try:
        return written.text_of(raw).lstrip("\ufeff").encode()
    except (written.NotJson, UnicodeEncodeError):
        return raw


def check_depth(body: Any, most: int, name: str = "The body") -> None:
    """Raise InvalidJson when the value nests deeper than MAX_JSON_DEPTH."""
    if written.is_deeper(body, most):
        raise errors.InvalidJson(f"{name} nests deeper than {most} levels (MAX_JSON_DEPTH).")


def _fingerprint(body: Any, salt: bytes) -> str:
    return hashlib.sha256(salt + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
