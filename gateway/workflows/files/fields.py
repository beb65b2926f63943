"""Keys of a mapping in YAML, each with what may stand under it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.workflows.files.mistakes import Mistake, Spot, near, shown

#: Returns what is wrong with a value; None when it is as it should be.
Check = Callable[[Any], str | None]

_MAPPING = "this must be a mapping of keys to values"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def known_fields(spot: Spot, checks: Mapping[str, Check], wrong: list[Mistake]) -> dict[str, Spot]:
    """Return what stands under each key; a key that is not known, or holds what it may not, is
    a mistake. An empty mapping may be left out altogether; a key with nothing behind it holds
    None."""
    found: dict[str, Spot] = {}
    for key in entries(spot, wrong):
        field = spot.at(key)
        if key not in checks:
            said = f"there is no key {shown(key)} here; {near(key, checks)}"
            wrong.append(field.mistake_of_key(said))
        elif field.value is not None and (problem := checks[key](field.value)):
            wrong.append(field.mistake(problem))
        else:
            found[key] = field
    return found


def entries(spot: Spot, wrong: list[Mistake]) -> Mapping[str, Any]:
    """Return a mapping; nothing at all is an empty one, anything else a mistake."""
    if spot.value is None:
        return {}
    if problem := mapping(spot.value):
        wrong.append(spot.mistake(problem))
        return {}
    found: Mapping[str, Any] = spot.value
    return found


def anything(_: Any) -> str | None:
    """What is checked later, together with others."""
    return None


def text(value: Any) -> str | None:
    """Text."""
    if not isinstance(value, str):
        return "this must be text; put it in quotes"
    return None


def flag(value: Any) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "this must be true or false"


def number(value: Any) -> str | None:
    """A number that is finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "this must be a number"
    return None if -(2**64) <= value <= 2**64 and math.isfinite(value) else "this is no such number"


def positive(value: Any) -> str | None:
    """A number above 0."""
    return number(value) or (None if value > 0 else "this must be more than 0")


def mapping(value: Any) -> str | None:
    """Keys and values."""
    return None if isinstance(value, dict) else _MAPPING


def sequence(value: Any) -> str | None:
    """A list with something in it."""
    return None if isinstance(value, list) and value else "this must be a list with something in it"


def folder(value: Any) -> str | None:
    """The name of a folder of models."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w][\w.-]*", value):
        return "this must be the name of one folder, as checkpoints or loras"
    return None


def route(value: Any) -> str | None:
    """A second address."""
    if not isinstance(value, str) or not value.startswith("/"):
        return "a route begins with /, as /tryon"
    parts = value[1:].split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9._~-]+", part) for part in parts) or {".", ".."} & {*parts}:
        return "a route is made of letters, digits, . _ ~ - and /: no {}, no / at its end"
    return None


def no_control(value: Any) -> str | None:
    """A line of text."""
    if problem := text(value):
        return problem
    return "this must be one line, and not empty" if _CONTROL.search(value) or not value else None
