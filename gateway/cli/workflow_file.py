"""A workflow file: a graph, a workflow of the canvas, or a picture that holds one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import errors, graph, written
from gateway.cli import fetching
from gateway.cli.failure import CommandFailed

if TYPE_CHECKING:
    from gateway.given import Given

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

    #: As it may be shown.
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

        Raises InvalidRequest, InvalidGraph for what is no graph.
        """
        found = self.content if workflow is None else workflow
        return WorkflowFile(graph.check_shape(found), self.fields, tuple(notes))


async def taken(source: str) -> Held:
    """Return what a file or a URL holds; raises CommandFailed."""
    if graph.is_url(source) and not fetching.is_url(source):
        raise CommandFailed(
            f"{fetching.shown(source)} cannot be fetched from here.",
            hint="Give a file, or an http URL. Requests to the gateway may name others: "
            '{"prompt": URL}.',
        )
    if not fetching.is_url(source):
        return await asyncio.to_thread(held, _path(source))
    return held_of(fetching.shown(source), await fetching.fetched(source, _MOST_BYTES))


def _path(source: str) -> Path:
    return Path(source).expanduser()


def held(path: Path) -> Held:
    """Return what a file holds: JSON in either format, or a picture that ComfyUI made.

    Raises CommandFailed for what holds no workflow.
    """
    from gateway import given

    try:
        with path.open("rb") as file:
            head = file.read(written.HEAD_BYTES)
            # Of a film only little is read, be it long; a pipe can be read but once.
            if path.is_file() and not written.is_json(head):
                return _held(str(path), lambda: given.read_in(path, _MOST_BYTES, str(path)))
            return held_of(str(path), head + file.read(_MOST_BYTES + 1 - len(head)))
    except OSError as failure:
        raise CommandFailed(f"{path}: {failure.strerror}.") from None


def held_of(source: str, data: bytes) -> Held:
    """Return what bytes hold that came from `source`; raises CommandFailed."""
    from gateway import given

    if len(data) > _MOST_BYTES:
        raise CommandFailed(f"{source} holds more than {_MOST_BYTES >> 20} MB: it is no workflow.")
    return _held(source, lambda: given.read_of(data, source))


def _held(source: str, read: Callable[[], Given]) -> Held:
    try:
        found = read()
    except errors.GatewayError as failure:
        raise CommandFailed(failure.message, hint=failure.hint) from None
    if written.is_deeper([found.workflow, found.fields], _DEEPEST + 1):
        raise CommandFailed(f"{source} nests deeper than {_DEEPEST} levels: it is no workflow.")
    return Held(source, found.workflow, found.fields, found.is_embedded)
