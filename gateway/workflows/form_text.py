"""Values that arrive as text: fields of a form, options of the command line; pure."""

from __future__ import annotations

import re
from typing import Any

from gateway.workflows.workflow import Parameter

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,5})?", re.ASCII)
_LONGEST = 30
_WHOLE = re.compile(r"[+-]?\d{1,400}", re.ASCII)


def read(parameter: Parameter, text: str) -> Any:
    """Return what a text means to a parameter; the text itself when it means nothing to it."""
    stripped = text.strip()
    if parameter.type in ("integer", "float", "seed"):
        return _number(stripped)
    if parameter.type == "boolean":
        return _boolean(stripped)
    if parameter.type == "enum":
        named = [choice for choice in parameter.choices if _written(choice) == stripped]
        return named[0] if named else text
    return text


def is_left_empty(parameter: Parameter, value: Any) -> bool:
    """Whether a field of a form was left as it was; a text may be empty."""
    if not isinstance(value, str) or value.strip() or parameter.type == "string":
        return False
    return "" not in parameter.choices


def is_truth(text: str) -> bool:
    """Whether a text is what JSON writes without quotes for true or false."""
    return text in ("true", "false")


def is_number(text: str) -> bool:
    """Whether a text is what JSON writes without quotes for a number."""
    return _NUMBER.fullmatch(text) is not None and len(text) < _LONGEST


def is_whole(text: str) -> bool:
    """Whether a text is what JSON writes without quotes for a whole number."""
    return is_number(text) and float(text).is_integer()


def _number(text: str) -> Any:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _boolean(text: str) -> Any:
    word = text.lower()
    return word in _TRUE if word in (*_TRUE, *_FALSE) else text


def _written(choice: Any) -> str:
    if isinstance(choice, bool):
        return "true" if choice else "false"
    return str(choice)
