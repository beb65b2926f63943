"""GET /generations: what was made, by the words of its prompts and by its values."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from gateway import errors
from gateway.api import paging
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS
from gateway.jobs.generation import SEEDS, Sought

_PAGE = ("limit", "cursor")
#: Times that fit a calendar, seconds since 1970.
_FIRST, _LAST = -62_135_596_800.0, 253_402_300_799.0
#: `+` in a query is a blank, and stands before the offset of a time.
_LOST_PLUS = re.compile(r"(?<=[\d.]) (?=\d\d:?\d\d$)")
_SHOWN = 50
#: Of the largest seed.
_DIGITS = len(str(SEEDS))


async def list_generations(request: web.Request) -> web.Response:
    """Return what was made, newest first, a page at a time."""
    query = request.query
    found, following = await request.app[PARTS].store.generations.list(
        sought(query), limit=paging.limit(query), cursor=paging.cursor(query)
    )
    body: dict[str, Any] = {"generations": found}
    if following is not None:
        body["next_cursor"] = following
    return json_response(body)


def sought(query: MultiMapping[str]) -> Sought:
    """Return what a query looks for; raises InvalidRequest."""
    _check_names(query)
    given = {
        name: read(name, query[name])
        for name, read in _FILTERS.items()
        # As a form sends a field that was left empty.
        if query.get(name, "").strip()
    }
    for least, most in (("seed_min", "seed_max"), ("after", "before")):
        if least in given and most in given and given[least] > given[most]:
            raise errors.InvalidRequest(
                f"{least} lies behind {most}: nothing is between them.", location=least
            )
    return Sought(**given)


def _check_names(query: MultiMapping[str]) -> None:
    known = (*_FILTERS, *_PAGE)
    for name in query:
        if name not in known:
            close = difflib.get_close_matches(name[:_SHOWN], known, n=3, cutoff=0.5)
            raise errors.InvalidRequest(
                f"There is no filter {name[:_SHOWN]!r}.",
                hint=f"Did you mean {' or '.join(close)}?" if close else _all(known),
                location=name[:_SHOWN],
                closest=close or None,
            )
        if len(query.getall(name)) > 1:
            raise errors.InvalidRequest(f"{name} is given more than once.", location=name)


def _all(known: tuple[str, ...]) -> str:
    return f"There are {', '.join(known)}."


def _text(_: str, given: str) -> str:
    return given


def _seed(name: str, given: str) -> int:
    text = given.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) < SEEDS):
        raise _refused(name, f"a whole number from 0 to {SEEDS - 1}", given)
    return int(text)


def _score(name: str, given: str) -> float:
    found = _number(given)
    if found is None:
        raise _refused(name, "a number", given)
    return found


def _time(name: str, given: str) -> float:
    found = _number(given)
    if found is None:
        found = _moment(given.strip())
    if found is None or not _FIRST <= found <= _LAST:
        allowed = "a time as 2026-01-31T12:00:00Z, a date, or seconds since 1970"
        raise _refused(name, allowed, given)
    return found


def _number(given: str) -> float | None:
    try:
        found = float(given)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _moment(given: str) -> float | None:
    text = _LOST_PLUS.sub("+", given) if "T" in given.upper() else given
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _refused(name: str, allowed: str, given: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(f"{name} is {allowed}; {given[:_SHOWN]!r} is not.", location=name)


_FILTERS: Mapping[str, Callable[[str, str], Any]] = {
    "prompt": _text,
    "negative_prompt": _text,
    "seed": _seed,
    "seed_min": _seed,
    "seed_max": _seed,
    "workflow": _text,
    "lora": _text,
    "model": _text,
    "sampler": _text,
    "preset": _text,
    "job_id": _text,
    "min_score": _score,
    "after": _time,
    "before": _time,
}
