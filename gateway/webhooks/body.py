"""The bytes of a webhook: what JavaScript's JSON.stringify(JSON.parse(body)) would give.

Receivers often verify a signature over a body that they have parsed and written again.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import orjson

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
#: JavaScript puts keys below this first, in ascending order.
_INDEX_LIMIT = 2**32 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")


def canonical(value: Any) -> bytes:
    """Return JSON without blanks, in raw UTF-8; whole numbers above 2^53 are written exactly.

    Raises TypeError for what is not JSON, RecursionError for what nests too deep.
    """
    pieces: list[str] = []
    _write(value, pieces)
    return "".join(pieces).encode()


def _write(value: Any, into: list[str]) -> None:
    if isinstance(value, dict):
        for index, key in enumerate(_ordered(value)):
            into.append(f"{',' if index else '{'}{_string(key)}:")
            _write(value[key], into)
        into.append("}" if value else "{}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            into.append("," if index else "[")
            _write(item, into)
        into.append("]" if value else "[]")
    else:
        into.append(_scalar(value))


def _ordered(keys: dict[str, Any]) -> list[str]:
    numbers = [key for key in keys if _INDEX.fullmatch(key) and int(key) < _INDEX_LIMIT]
    if not numbers:
        return list(keys)
    known = set(numbers)
    return [*sorted(numbers, key=int), *(key for key in keys if key not in known)]


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _string(value: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # Half of a pair, as custom nodes produce it by cutting text: no UTF-8 has it.
        pieces = _SURROGATE.split(value)
        halves = [f"\\u{ord(half):04x}" for half in _SURROGATE.findall(value)]
        inner = [orjson.dumps(piece).decode()[1:-1] for piece in pieces]
        joined = "".join(a + b for a, b in zip(inner, [*halves, ""], strict=True))
        return f'"{joined}"'


def _float(value: float) -> str:
    """Return a number as ECMAScript's Number::toString writes it."""
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    sign, given, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, given)).rstrip("0")
    assert isinstance(exponent, int)
    # The place of the point, counted from the first digit.
    point = len(given) + exponent
    return ("-" if sign else "") + _digits(digits, point)


def _digits(digits: str, point: int) -> str:
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    exponent = point - 1
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'+' if exponent > 0 else '-'}{abs(exponent)}"
