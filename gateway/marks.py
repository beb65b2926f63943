"""Reads YAML or JSON, and remembers the line and column of everything in it."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

#: Steps from the whole text to a place in it: keys, and indices of lists.
Path = tuple[str | int, ...]

#: libyaml's, where it is there: ten times as fast, and hundreds of manifests are read at a start.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Deeper than any manifest; far from the interpreter's own limit.
_DEEPEST = 20
_TEXT = "tag:yaml.org,2002:str"
#: 1e5 alone may be the beginning of a commit's name, and stays text.
_POWER = re.compile(r"[-+]?((\d+\.\d*|\.\d+)[eE][-+]?\d{1,9}|\d+[eE][-+]\d{1,9})", re.ASCII)
_UNREADABLE = object()
#: What SafeLoader makes of plain values; anything else asks for an object of some program.
_TAGS = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|null|timestamp|seq|map)")


@dataclass(frozen=True, order=True)
class Place:
    """Where something stands; both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, order=True)
class Mistake:
    """What is wrong, and where."""

    place: Place
    sentence: str


@dataclass
class Document:
    """What a text says, and where; a text with mistakes has no value."""

    value: Any = None
    mistakes: list[Mistake] = field(default_factory=list)
    #: PyYAML's own marks: few of thousands are ever asked for.
    _values: dict[Path, Any] = field(default_factory=dict)
    _keys: dict[Path, Any] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Return where a value stands; the nearest that holds it when it is not there."""
        while path and path not in self._values:
            path = path[:-1]
        return _place(self._values.get(path))

    def place_of_key(self, path: Path) -> Place:
        """Return where the key of a value stands."""
        return _place(self._keys[path]) if path in self._keys else self.place(path)

    def note(self, path: Path, sentence: str) -> None:
        """Add a mistake of the value at this path."""
        self.mistakes.append(Mistake(self.place(path), sentence))


def read(text: str) -> Document:
    """Return what a text says: JSON when it begins as JSON does, else YAML."""
    document = Document()
    is_json = text.lstrip().startswith("{")
    if is_json and (mistake := _json_mistake(text)):
        document.mistakes.append(mistake)
        return document
    # To YAML a tab is no blank; in JSON it may stand between values, and nowhere else.
    text = text.replace("\t", " ") if is_json else text
    try:
        root = _composed(text, is_json=is_json)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        document.mistakes.append(Mistake(_place(mark), failure.problem or "this is not YAML"))
    except yaml.YAMLError:
        document.mistakes.append(Mistake(Place(1, 1), "a character in it may not stand in YAML"))
    else:
        document.value = _Walk(document, text if is_json else None).value(root, ())
    return document


def _json_mistake(text: str) -> Mistake | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as failure:
        return Mistake(Place(failure.lineno, failure.colno), f"this is not JSON: {failure.msg}")
    except RecursionError:
        return Mistake(Place(1, 1), "it is nested too deeply")
    return None


def _composed(text: str, *, is_json: bool) -> yaml.Node | None:
    """Return the only document of a text; what is wrong with it is told as PyYAML words it."""
    with contextlib.suppress(yaml.YAMLError):
        if not is_json:
            return _root(text, _LOADER)
    return _root(text, yaml.SafeLoader)


def _root(text: str, loader: type[Any]) -> yaml.Node | None:
    """Return the only document of a text, with neither anchors nor depths that explode."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(event, "aliases (*name) are not supported; write it out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _refusal(event, "it is nested too deeply")
    root: yaml.Node | None = yaml.compose(text, Loader=loader)
    return root


def _refusal(event: Any, sentence: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=sentence, problem_mark=event.start_mark)


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _why_not(value: Any) -> str | None:
    """Return what is wrong with a value that JSON cannot hold as ComfyUI is sent it."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "it has half a character, which no text can hold"
        return None
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else "it needs more than 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a finite number"
    # A date, for one: JSON has none.
    return "this value cannot be read; put it in quotes"


def _is_power(node: yaml.Node) -> bool:
    """Whether this is a number as 1e-3: to PyYAML it is text, to YAML 1.2 and to people it is not.

    What stands in quotes is text to all of them.
    """
    plain = isinstance(node, yaml.ScalarNode) and not node.style and node.tag == _TEXT
    return plain and _POWER.fullmatch(node.value) is not None


class _Walk:
    """Turns nodes into values, and notes where each stands."""

    def __init__(self, document: Document, json_text: str | None) -> None:
        self._document = document
        self._json_text = json_text
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node | None, path: Path) -> Any:
        if node is None:
            return None
        self._document._values[path] = node.start_mark
        if self._json_text is None and not _TAGS.fullmatch(node.tag):
            self._wrong(node, f"the tag {node.tag} is not supported")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, i)) for i, child in enumerate(node.value)]
        if _is_power(node):
            return self._checked(node, float(node.value))
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for key_node, child in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self._wrong(key_node, "a key must be text")
                continue
            if key in found:
                self._wrong(key_node, f"{key[:80]!r} stands here twice")
                continue
            self._document._keys[*path, key] = key_node.start_mark
            found[key] = self.value(child, (*path, key))
        return found

    def _scalar(self, node: yaml.Node) -> Any:
        return self._checked(node, self._read(node))

    def _checked(self, node: yaml.Node, found: Any) -> Any:
        sentence = _why_not(found)
        if sentence is None:
            return found
        self._wrong(node, sentence)
        return None

    def _read(self, node: yaml.Node) -> Any:
        if self._json_text is not None:
            # YAML reads "\ud83d\ude00" as two broken characters; JSON knows better.
            return json.loads(self._json_text[node.start_mark.index : node.end_mark.index])
        if node.tag == _TEXT:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return _UNREADABLE

    def _wrong(self, node: yaml.Node, sentence: str) -> None:
        self._document.mistakes.append(Mistake(_place(node.start_mark), sentence))
