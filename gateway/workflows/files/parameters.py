"""Parameters of a workflow, as its manifest defines them; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from gateway.workflows import values
from gateway.workflows.files import fields, places
from gateway.workflows.files.mistakes import Mistake, Spot, near, shown
from gateway.workflows.workflow import Kind, Parameter

KINDS: tuple[str, ...] = get_args(Kind)

FIELDS: dict[str, fields.Check] = {
    "type": fields.text,
    "default": fields.anything,
    "required": fields.flag,
    "min": fields.number,
    "max": fields.number,
    "multiple_of": fields.positive,
    "choices": fields.sequence,
    "description": fields.text,
    "folder": fields.folder,
    "bind": fields.anything,
    "toggle": fields.anything,
}
#: Fields that only some types have.
_BELONGS: dict[str, tuple[str, ...]] = {
    "min": ("integer", "float", "seed", "string"),
    "max": ("integer", "float", "seed", "string"),
    "multiple_of": ("integer", "float"),
    "choices": ("enum", "string", "integer", "float", "model", "lora"),
    "folder": ("model",),
    "toggle": ("boolean",),
}
#: What else people call a type.
_ALSO = {"int": "integer", "number": "float", "bool": "boolean", "str": "string", "text": "string"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True)
class Definition:
    """What is said of a parameter, perhaps in two files; not yet checked as a whole."""

    name: str
    #: Where the workflow names it.
    spot: Spot
    said: Mapping[str, Spot]
    #: Fields that hold what they may not: they are there, and that much was told.
    ill: frozenset[str] = frozenset()

    def under(self, other: Definition) -> Definition:
        """Return this with another's fields over its own; an empty field takes one away."""
        said = {**self.said, **other.said}
        return Definition(self.name, other.spot, said, self.ill | other.ill)

    def lacks(self, *keys: str) -> bool:
        """Whether none of these fields says anything."""
        there = {key for key, spot in self.said.items() if spot.value is not None} | self.ill
        return not there & {*keys}


def definition(name: str, spot: Spot, wrong: list[Mistake]) -> Definition:
    """Return what a mapping says of a parameter."""
    if not _NAME.fullmatch(name):
        said = "a parameter is named by letters, digits, _ and -, and begins with no digit"
        wrong.append(spot.mistake_of_key(said))
    found = fields.known_fields(spot, FIELDS, wrong)
    if spot.value is None:
        return Definition(name, spot, found)
    there = spot.value if isinstance(spot.value, dict) else FIELDS
    return Definition(name, spot, found, frozenset(key for key in there if key not in found))


def parameter(defined: Definition, nodes: places.Nodes, wrong: list[Mistake]) -> Parameter | None:
    """Return the parameter; None when something is wrong with it."""
    said = {key: spot for key, spot in defined.said.items() if spot.value is not None}
    before = len(wrong)
    kind = _kind(defined, said, wrong)
    if kind is None:
        return None
    _check_fields(kind, defined, said, wrong)
    if len(wrong) > before:
        return None
    made = _made(defined.name, kind, said)
    _check_numbers(made, said, wrong)
    made = _with_choices(made, said, wrong)
    made = _with_default(made, said, wrong)
    made = _with_places(made, said, nodes, wrong)
    return made if len(wrong) == before else None


def _kind(defined: Definition, said: Mapping[str, Spot], wrong: list[Mistake]) -> str | None:
    if defined.lacks("type"):
        wrong.append(defined.spot.mistake(f"type is missing; {near('', KINDS)}"))
    if "type" not in said:
        return None
    kind = said["type"].value
    if kind not in KINDS:
        meant = _ALSO.get(kind.lower())
        close = f"did you mean {meant}?" if meant else near(kind, KINDS)
        wrong.append(said["type"].mistake(f"there is no type {shown(kind)}; {close}"))
        return None
    return str(kind)


def _check_fields(
    kind: str, defined: Definition, said: Mapping[str, Spot], wrong: list[Mistake]
) -> None:
    for key, kinds in _BELONGS.items():
        if key in said and kind not in kinds:
            told = f"{key} goes with {', '.join(kinds)}; this is {kind}"
            wrong.append(said[key].mistake_of_key(told))
    needed = {"enum": "choices", "model": "folder"}.get(kind)
    if needed and defined.lacks(needed):
        wrong.append(defined.spot.mistake(f"{kind} needs {needed}"))
    if defined.lacks("bind", "toggle"):
        wrong.append(defined.spot.mistake("this is bound to nothing; say bind, as 6.inputs.text"))


def _made(name: str, kind: str, said: Mapping[str, Spot]) -> Parameter:
    plain = ("required", "min", "max", "multiple_of", "description", "folder")
    chosen: dict[str, Any] = {key: said[key].value for key in plain if key in said}
    return Parameter(name, kind, **chosen)  # type: ignore[arg-type]  # one of KINDS


def _check_numbers(made: Parameter, said: Mapping[str, Spot], wrong: list[Mistake]) -> None:
    if made.type != "float":
        numbers = [said[key] for key in ("min", "max", "multiple_of") if key in said]
        wrong += [
            spot.mistake("this must be a whole number")
            for spot in numbers
            if not float(spot.value).is_integer()
        ]
    if made.min is not None and made.max is not None and made.min > made.max:
        wrong.append(said["min"].mistake(f"min is more than max, {made.max}"))


def _with_choices(made: Parameter, said: Mapping[str, Spot], wrong: list[Mistake]) -> Parameter:
    if "choices" not in said:
        return made
    found: list[Any] = []
    for index, choice in enumerate(said["choices"].value):
        spot = said["choices"].at(index)
        problem = _choice_problem(made, choice)
        if problem is None and choice in found:
            problem = f"{shown(choice)} stands here twice"
        if problem:
            wrong.append(spot.mistake(problem))
        found.append(choice)
    return replace(made, choices=tuple(found))


def _choice_problem(made: Parameter, choice: Any) -> str | None:
    if made.type != "enum":
        return problem_of(made, choice)
    if isinstance(choice, bool):
        return "this is true or false to YAML; put it in quotes"
    if isinstance(choice, str):
        return None
    return fields.number(choice) and "a choice is text or a number; put it in quotes"


def _with_default(made: Parameter, said: Mapping[str, Spot], wrong: list[Mistake]) -> Parameter:
    if "default" not in said:
        return made
    default = said["default"].value
    if problem := problem_of(made, default):
        wrong.append(said["default"].mistake(f"the default does not fit: {problem}"))
        return made
    return replace(made, default=values.checked(made, default))


def problem_of(made: Parameter, value: Any) -> str | None:
    """Return why a parameter may not have a value; None when it may."""
    try:
        values.checked(made, value)
    except values.Wrong as failure:
        return str(failure)
    return None


def _with_places(
    made: Parameter,
    said: Mapping[str, Spot],
    nodes: places.Nodes,
    wrong: list[Mistake],
) -> Parameter:
    if "bind" in said:
        made = replace(made, places=places.bound(said["bind"], nodes, wrong))
    if "toggle" in said:
        made = replace(made, toggle=places.named(said["toggle"], nodes, wrong))
        if not said["toggle"].value:
            wrong.append(said["toggle"].mistake("this must name a node, or a list of them"))
    return made
