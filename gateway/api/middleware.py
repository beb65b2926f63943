"""What every request passes: errors become answers, keys are asked for, browsers are let in."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from structlog.contextvars import bound_contextvars

from gateway import errors, metrics
from gateway.api.parts import PARTS
from gateway.jobs import answer
from gateway.log import logger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Paths that balancers, scrapers and readers of the documentation ask for without a key.
OPEN_PATHS = frozenset({"/health", "/ready", "/live", "/metrics", "/openapi.json", "/docs"})
#: What else the page of the documentation asks for; no workflow may answer there.
OPEN_FOLDER = "/docs/"

OWNER = web.RequestKey("owner", str)
#: What a request is counted under, where the table does not tell.
ROUTE = web.RequestKey("route", str)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CORS_HEADERS = "Authorization, Content-Type, X-API-Key, Idempotency-Key, Prefer, Last-Event-ID"
_EXPOSED = "Location, Retry-After, X-Job-Id, X-Request-Id, Content-Disposition"


def json_response(
    body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a JSON answer."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def error_response(failure: errors.GatewayError) -> web.Response:
    """Return the answer that a failure has: `wire/prompt.md`, Errors."""
    headers = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(failure.retry_after)))
    if isinstance(failure, errors.Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="comfy-gateway"'
    return json_response(answer.failure(failure.to_dict()), failure.status, headers)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and log each request, under an id that the answer carries."""
    began = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex[:16]
    route = request.match_info.route.resource
    name = route.canonical if route is not None else "unknown"
    request[_REQUEST_NAME] = request_id
    with bound_contextvars(request_id=request_id):
        status = 499
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            name = request.get(ROUTE, name)
            method = request.method if name != "unknown" else "any"
            metrics.requests_total.labels(name, method, str(status)).inc()
            log = logger.debug if name in OPEN_PATHS else logger.info
            log(
                "request",
                method=request.method,
                path=request.path[:200],
                status=status,
                ms=round((time.monotonic() - began) * 1000, 1),
                **({"key": request[OWNER]} if OWNER in request else {}),
            )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into an answer that says what to change."""
    try:
        return await handler(request)
    except errors.GatewayError as failure:
        response = error_response(failure)
        if isinstance(failure, errors.MethodNotAllowed):
            # Of a workflow's second address: the table tells what its own take.
            response.headers["Allow"] = "POST"
        return response
    except web.HTTPException as failure:
        response = error_response(_translated(failure, request))
        if isinstance(failure, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = failure.headers["Allow"]
        return response
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception:  # noqa: BLE001 - the error middleware is one of the three places
        metrics.errors_total.labels("request").inc()
        logger.exception("request failed")
        return error_response(errors.InternalError())


def _translated(failure: web.HTTPException, request: web.Request) -> errors.GatewayError:
    if isinstance(failure, web.HTTPRequestEntityTooLarge):
        limit = request.app[PARTS].settings.max_body_size_mb
        return errors.BodyTooLarge(
            f"The body is larger than {limit:g} MB (MAX_BODY_SIZE_MB).",
            hint="Send large inputs by URL.",
        )
    if isinstance(failure, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(failure.allowed_methods))
        return errors.MethodNotAllowed(f"{request.path[:200]} takes {allowed}.")
    if isinstance(failure, web.HTTPNotFound):
        return errors.NotFound()
    return errors.InvalidRequest(failure.reason or "The request was not understood.")


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask for a key, except where probes and scrapers come."""
    keyring = request.app[PARTS].keyring
    is_public = request.path in OPEN_PATHS or request.path.startswith(OPEN_FOLDER)
    if keyring.is_open or is_public or _is_preflight(request):
        return await handler(request)
    key = _given_key(request)
    if key is None:
        raise errors.Unauthorized
    owner = keyring.owner_of(key)
    if owner is None:
        raise errors.Unauthorized("This API key is not known.")
    request[OWNER] = owner
    return await handler(request)


def _given_key(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("X-API-Key")


@web.middleware
async def allow_browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights, and name the origins that CORS_ORIGINS allows."""
    origins = request.app[PARTS].settings.cors_origins
    origin = request.headers.get("Origin")
    if origin is None or not ("*" in origins or origin in origins):
        return await handler(request)
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED,
        "Vary": "Origin",
    }
    if _is_preflight(request):
        headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE, OPTIONS"
        headers["Access-Control-Allow-Headers"] = _CORS_HEADERS
        headers["Access-Control-Max-Age"] = "600"
        return web.Response(status=204, headers=headers)
    request[_CORS] = headers
    return await handler(request)


_CORS = web.RequestKey("cors", dict)
_REQUEST_NAME = web.RequestKey("request_id", str)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on streamed answers too; an on_response_prepare signal."""
    response.headers.update(request.get(_CORS, {}))
    if request.app[PARTS].settings.cors_origins:
        response.headers.setdefault("Vary", "Origin")
    response.headers["X-Request-Id"] = request.get(_REQUEST_NAME, "")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


def _is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


ALL = [observe, allow_browsers, answer_errors, authenticate]
