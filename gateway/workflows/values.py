"""What a caller gave for a workflow's parameters, judged all at once; pure."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from gateway import errors
from gateway.workflows import form_text
from gateway.workflows.workflow import MEDIA, Parameter

#: Stands for a seed that is drawn when the graph is built.
RANDOM = "random"
#: Stands for no LoRA at all.
NO_LORA = "None"
#: What JSON as ComfyUI is sent it can hold.
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
#: Longer than any prompt, shorter than what a text encoder would choke on for minutes.
TEXT_LENGTH = 100_000
#: Of the name of a model, or of its URL.
NAME_LENGTH = 4096
#: So many mistakes are told; the sentence says how many there are.
_TOLD = 100
#: Stands for each that is only counted.
_COUNTED = {"parameter": "", "given": None, "allowed": "", "message": ""}
_SHOWN = 200
_LEAVE_OUT = "; leave it out"
_CHOICES_SHOWN = 50
_repr = reprlib.Repr()
_repr.maxlevel = 2


class Wrong(ValueError):
    """A value is not what its parameter allows; the sentence says why."""


def check(
    parameters: Mapping[str, Parameter], given: Mapping[str, Any], *, is_form: bool = False
) -> dict[str, Any]:
    """Return what was given, each value as its parameter's type has it.

    `is_form`: values are text and are read by the type of their parameter; a field that was left
    empty counts as not given, unless it is a text. A random seed stays `"random"`.
    Raises InvalidParameters with all that is wrong.
    """
    found: dict[str, Any] = {}
    problems: list[dict[str, Any]] = []
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None:
            # To tell of one costs time, and a request may hold many thousands.
            is_told = len(problems) < _TOLD
            problems.append(_unknown(parameters, name, value) if is_told else _COUNTED)
            continue
        if is_form and form_text.is_left_empty(parameter, value):
            continue
        try:
            found[name] = checked(parameter, value, is_form=is_form)
        except Wrong as wrong:
            problems.append(problem(name, value, allowed(parameter), str(wrong)))
    for name, parameter in parameters.items():
        if parameter.required and name not in found and not _was_told(problems, name):
            problems.append(problem(name, None, allowed(parameter), "it is required"))
    if problems:
        raise refusal(problems)
    return found


def checked(parameter: Parameter, value: Any, *, is_form: bool = False) -> Any:
    """Return the value as the parameter's type has it; raises Wrong."""
    if is_form and isinstance(value, str):
        value = form_text.read(parameter, value)
    return _CHECKS[parameter.type](parameter, value)


def problem(name: str, given: Any, allowed: str, message: str) -> dict[str, Any]:
    """Return one mistake as the answer tells it."""
    return {
        "parameter": name[:_SHOWN],
        "given": shown(given),
        "allowed": allowed,
        "message": message,
    }


def refusal(problems: list[dict[str, Any]]) -> errors.InvalidParameters:
    """Return the one error that tells all of these."""
    first, others = problems[0], len(problems) - 1
    more = f", and {others} more {'is' if others == 1 else 'are'} wrong" if others else ""
    return errors.InvalidParameters(
        f"{first['parameter']}: {first['message']}{more}.",
        location=f"input.{first['parameter']}",
        hint=f"Allowed: {first['allowed']}." if first["allowed"] else None,
        errors=problems[:_TOLD],
    )


def shown(value: Any) -> Any:
    """Return a value short enough for an answer, and such that JSON can hold it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value[:_SHOWN].encode(errors="replace").decode()
        return text if len(value) <= _SHOWN else f"{text}…"
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        # Thousands of digits take long to write, and Python refuses it.
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _outline(value)


def _outline(value: Any) -> str:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    try:
        return _repr.repr(value).encode(errors="replace").decode()[:_SHOWN]
    except ValueError:
        return f"a {type(value).__name__}"


def allowed(parameter: Parameter) -> str:
    """Say what a parameter may be."""
    if parameter.choices:
        some = ", ".join(str(shown(choice)) for choice in parameter.choices[:_CHOICES_SHOWN])
        return f"one of {some}{', …' if len(parameter.choices) > _CHOICES_SHOWN else ''}"
    kind = _ALLOWED[parameter.type]
    if parameter.type == "seed" and parameter.min is None and parameter.max is None:
        return kind
    if parameter.type == "string":
        return f"{kind} of {_range(parameter)} characters" if _range(parameter) else kind
    step = f", a multiple of {_number(parameter.multiple_of)}" if parameter.multiple_of else ""
    return f"{kind} {_range(parameter)}".rstrip() + step


def _range(parameter: Parameter) -> str:
    low, high = parameter.min, parameter.max
    if low is not None and high is not None:
        return f"from {_number(low)} to {_number(high)}"
    if low is not None:
        return f"from {_number(low)}"
    return "" if high is None else f"up to {_number(high)}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _unknown(parameters: Mapping[str, Parameter], name: str, value: Any) -> dict[str, Any]:
    close = difflib.get_close_matches(name[:_SHOWN], parameters, n=1)
    meant = f"; did you mean {close[0]}" if close else ""
    there = ", ".join(list(parameters)[:_CHOICES_SHOWN])
    says = f"one of the parameters {there}" if parameters else "nothing: it has no parameters"
    return problem(name, value, says, f"there is no such parameter{meant}")


def _was_told(problems: list[dict[str, Any]], name: str) -> bool:
    return any(told["parameter"] == name for told in problems)


# One check for each type; each returns the value, or raises Wrong


def _text(parameter: Parameter, value: Any) -> str:
    text = _string(value)
    longest = TEXT_LENGTH if parameter.max is None else parameter.max
    if len(text) > longest:
        raise Wrong(f"it has {len(text)} characters; at most {_number(longest)} are allowed")
    if parameter.min is not None and len(text) < parameter.min:
        raise Wrong(f"it has {len(text)} characters; at least {_number(parameter.min)} are needed")
    return _chosen(parameter, text) if parameter.choices else text


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"{_told(value)} is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Wrong("it has half a character, which no text can hold") from None
    return value


def _integer(parameter: Parameter, value: Any) -> int:
    whole = _whole(value)
    _check_range(parameter, whole)
    return _chosen(parameter, whole) if parameter.choices else whole


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"{_told(value)} is not an integer{_unquoted(value, form_text.is_whole)}")
    # JSON has one kind of number: 20.0 is an integer.
    if isinstance(value, float) and not value.is_integer():
        raise Wrong(f"{shown(value)} is not an integer")
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise Wrong("it needs more than 64 bits")
    return int(value)


def _float(parameter: Parameter, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"{_told(value)} is not a number{_unquoted(value, form_text.is_number)}")
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise Wrong("it needs more than 64 bits")
    number = float(value)
    if not math.isfinite(number):
        raise Wrong(f"{shown(number)} is not a finite number")
    _check_range(parameter, number)
    return _chosen(parameter, number) if parameter.choices else number


def _check_range(parameter: Parameter, number: float) -> None:
    if parameter.min is not None and number < parameter.min:
        raise Wrong(f"{number} is less than {_number(parameter.min)}")
    if parameter.max is not None and number > parameter.max:
        raise Wrong(f"{number} is more than {_number(parameter.max)}")
    step = parameter.multiple_of
    # Exact, as people write them: 0.3 is a multiple of 0.1.
    if step and Fraction(str(number)) % Fraction(str(step)):
        raise Wrong(f"{number} is not a multiple of {_number(step)}")


def _boolean(_: Parameter, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(
            f"{_told(value)} is neither true nor false{_unquoted(value, form_text.is_truth)}"
        )
    return value


def _enum(parameter: Parameter, value: Any) -> Any:
    return _chosen(parameter, value)


def _chosen(parameter: Parameter, value: Any) -> Any:
    for choice in parameter.choices:
        # To Python true is 1; to a caller it is not.
        if isinstance(choice, bool) == isinstance(value, bool) and choice == value:
            return choice
    raise Wrong(f"{_told(value)} is none of them{_closest(parameter.choices, value)}")


def _closest(choices: tuple[Any, ...], value: Any) -> str:
    if not isinstance(value, str):
        return _LEAVE_OUT if value is None else ""
    if any(str(choice) == value for choice in choices):
        return f"; write {value} without quotes"
    names = {str(choice).lower(): choice for choice in choices}
    close = difflib.get_close_matches(value[:_SHOWN].lower(), names, n=1, cutoff=0.5)
    return f"; the closest is {names[close[0]]}" if close else ""


def _seed(parameter: Parameter, value: Any) -> int | str:
    if value == RANDOM and isinstance(value, str):
        return RANDOM
    whole = _whole(value)
    if whole == -1:
        return RANDOM
    if whole < 0:
        raise Wrong(f"{whole} is less than 0; -1 draws one")
    _check_range(parameter, whole)
    return whole


def _media(_: Parameter, value: Any) -> str:
    # How large a file may be is judged where it is decoded.
    return _filled(_string(value))


def _model(parameter: Parameter, value: Any) -> str:
    name = _name(value)
    return str(_chosen(parameter, name)) if parameter.choices else name


def _lora(parameter: Parameter, value: Any) -> str:
    if value is None or value == NO_LORA:
        return NO_LORA
    return _model(parameter, value)


def _name(value: Any) -> str:
    name = _filled(_string(value))
    if len(name) > NAME_LENGTH:
        raise Wrong(f"it has {len(name)} characters; at most {NAME_LENGTH} are allowed")
    return name


def _filled(text: str) -> str:
    if not text.strip():
        raise Wrong("it is empty; leave it out, or name a file")
    return text


def _told(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{shown(value[:60])}{"…" if len(value) > 60 else ""}"'
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, int | float):
        return str(shown(value))
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _unquoted(value: Any, would_do: Callable[[str], bool]) -> str:
    """Say that a value would do without its quotes, when it would."""
    if value is None:
        return _LEAVE_OUT
    if not isinstance(value, str) or not would_do(value):
        return ""
    return f"; write {value} without quotes"


_CHECKS: dict[str, Callable[[Parameter, Any], Any]] = {
    "string": _text,
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "enum": _enum,
    "seed": _seed,
    "model": _model,
    "lora": _lora,
    **dict.fromkeys(MEDIA, _media),
}

_ALLOWED = {
    "string": "text",
    "integer": "an integer",
    "float": "a number",
    "boolean": "true or false",
    "enum": "a choice",
    "seed": 'an integer from 0 to 18446744073709551615, or "random" or -1',
    "model": "the name of a model, or its URL",
    "lora": 'the name of a LoRA, its URL, or "None"',
    **{
        kind: f"the URL of {name}, its base64, or the name of an input file"
        for kind, name in zip(MEDIA, ("an image", "a mask", "a sound", "a video"), strict=True)
    },
}
