"""A workflow file: a graph, a workflow of the canvas, or a picture that holds one of them."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import graph, loose_json
from gateway.cli.failure import CommandFailed

if TYPE_CHECKING:
    from gateway.media.embedded import Found

#: What describes a workflow in its own file; ComfyUI knows nothing of it.
METADATA = "_workflow_metadata"

_HEAD_BYTES = 4096
#: As much as a gateway takes when nobody says otherwise (MAX_BODY_SIZE_MB).
_MOST_BYTES = 100 << 20
#: As much as a gateway can be told to take (MAX_JSON_DEPTH).
_DEEPEST = 200


@dataclass(frozen=True)
class WorkflowFile:
    """A graph, and the fields of the request around it where the file holds them."""

    workflow: graph.Graph
    fields: dict[str, Any]
    #: What there is to say about how the graph came out of the file.
    notes: tuple[str, ...] = ()

    @property
    def body(self) -> dict[str, Any]:
        """The body of `POST /prompt`."""
        return {**self.fields, "prompt": self.workflow}


@dataclass(frozen=True)
class Held:
    """What a file holds, in the format that it has there."""

    source: str
    content: dict[str, Any]
    fields: dict[str, Any]
    #: Whether it was found in a picture, a sound or a film.
    is_embedded: bool = False

    @property
    def is_canvas(self) -> bool:
        """Whether it must be converted, as the canvas saves it, before it is a graph."""
        return graph.is_ui_format(self.content)

    def file(self, workflow: Any = None, notes: Sequence[str] = ()) -> WorkflowFile:
        """Return it with its graph, or with that which it was converted to.

        Raises UiWorkflow, InvalidRequest, InvalidGraph for what is no graph.
        """
        found = self.content if workflow is None else workflow
        return WorkflowFile(graph.check_shape(found), self.fields, tuple(notes))


def held(path: Path) -> Held:
    """Return what a file holds: JSON in either format, or a picture that ComfyUI made.

    Raises CommandFailed for what holds no workflow.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            # Of a film only little is read, be it long; a pipe can be read but once.
            if _is_media(head) and path.is_file():
                from gateway.media import embedded

                return _embedded(str(path), embedded.workflow_in(path))
            return held_of(str(path), head + file.read(_MOST_BYTES + 1 - len(head)))
    except OSError as failure:
        raise CommandFailed(f"{path}: {failure.strerror}.") from None


def held_of(source: str, data: bytes) -> Held:
    """Return what bytes hold that came from `source`; raises CommandFailed."""
    if len(data) > _MOST_BYTES:
        raise CommandFailed(f"{source} holds more than {_MOST_BYTES >> 20} MB: it is no workflow.")
    if _is_media(data[:_HEAD_BYTES]):
        from gateway.media import embedded

        return _embedded(source, embedded.workflow_of(data))
    return _of_json(source, data)


def _is_media(head: bytes) -> bool:
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        return False
    from gateway.media import sniff

    return sniff.kind_of(head) is not None


def _of_json(source: str, data: bytes) -> Held:
    try:
        found = loose_json.parse(data)
    except ValueError as failure:
        raise CommandFailed(f"{source} is not JSON: {failure}.") from None
    except RecursionError:
        raise _too_deep(source) from None
    if not isinstance(found, dict):
        raise CommandFailed(
            f"{source} holds no workflow.",
            hint="Save it with Workflow > Save, or Workflow > Export (API).",
        )
    if _is_deep(found):
        raise _too_deep(source)
    return _unwrapped(source, found)


def _unwrapped(source: str, found: dict[str, Any]) -> Held:
    """Return a bare workflow, or that of {"prompt": workflow, ..} with what is around it."""
    found.pop(METADATA, None)
    wrapped = (
        isinstance(found.get("prompt"), dict)
        and "class_type" not in found["prompt"]
        and not graph.is_ui_format(found)
    )
    fields = {key: value for key, value in found.items() if key != "prompt"} if wrapped else {}
    content = found["prompt"] if wrapped else found
    if wrapped:
        content.pop(METADATA, None)
    return Held(source, content, fields)


def _embedded(source: str, found: Found | None) -> Held:
    """Return the graph that ran, or else the canvas."""
    if found is None:
        raise CommandFailed(
            f"{source} holds no workflow.",
            hint="PNG, WebP, JPEG, FLAC and MP4 files hold it as ComfyUI saves them, "
            "unless a program wrote them anew.",
        )
    content = found.best
    if _is_deep(content):
        raise _too_deep(source)
    if not graph.is_ui_format(content):
        # What ran bears the marks of its job.
        content = graph.unmarked(graph.check_shape(content))
    return Held(source, content, {}, is_embedded=True)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for one in level for child in _children(one)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterator[Any]:
    found = value.values() if isinstance(value, dict) else value
    return (child for child in found if isinstance(child, dict | list))


def _too_deep(source: str) -> CommandFailed:
    return CommandFailed(f"{source} nests deeper than {_DEEPEST} levels: it is no workflow.")
