"""?dry_run=true: everything is checked, and nothing is run, stored or left behind."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from gateway import errors
from gateway.api.parts import PARTS, Parts

_WORDS = {"true": True, "1": True, "": True, "false": False, "0": False}
_REHEARSING = web.RequestKey("rehearsing", Parts)


def is_asked(request: web.Request) -> bool:
    """Whether a request is only to be checked; raises InvalidRequest."""
    given = request.query.get("dry_run", "false")
    if given.lower() not in _WORDS:
        raise errors.InvalidRequest(
            f"dry_run is true or false, not {given[:100]!r}.", location="dry_run"
        )
    return _WORDS[given.lower()]


def parts_of(request: web.Request) -> Parts:
    """Return what a request works with: of a rehearsal, the inputs leave no file."""
    return rehearsing(request) if is_asked(request) else request.app[PARTS]


def rehearsing(request: web.Request) -> Parts:
    """Return what a request works with that must leave no file, whatever it asks for."""
    if _REHEARSING not in request:
        parts = request.app[PARTS]
        request[_REHEARSING] = replace(parts, inputs=parts.inputs.rehearsing())
    return request[_REHEARSING]
