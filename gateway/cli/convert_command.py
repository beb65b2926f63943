"""`gateway convert`: its options."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import errors
from gateway.cli.failure import CommandFailed, plain
from gateway.cli.options import ObjectInfoOption


def convert(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Workflows as JSON, or pictures that hold one."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the graphs go.")],
    object_info: ObjectInfoOption = None,
) -> None:
    """Bring workflows of the canvas into API format, without a gateway."""
    from gateway.cli import convert as converting

    definitions = _Definitions(object_info)
    if object_info is not None:
        definitions.known()
    folder = converting.Folder.made(out, files)
    # Not all(): a file that fails does not stop the others.
    done = [_converted(source, folder, definitions) for source in files]
    if not all(done):
        raise typer.Exit(1)


class _Definitions:
    """What ComfyUI says of its classes, asked for when it is needed, and once."""

    def __init__(self, source: str | None) -> None:
        self._source = source

    @functools.cached_property
    def _found(self) -> dict[str, Any] | CommandFailed:
        from gateway.cli import object_info

        try:
            return asyncio.run(object_info.read(self._source))
        except CommandFailed as failure:
            return failure

    def known(self) -> dict[str, Any]:
        """Return the mapping of `/object_info`; raises CommandFailed, each time the same."""
        if isinstance(self._found, CommandFailed):
            raise self._found
        return self._found


def _converted(source: str, folder: Any, definitions: _Definitions) -> bool:
    """Convert a file and say what came of it; return whether it was written."""
    from gateway.cli import convert as converting
    from gateway.cli import fetching

    shown = fetching.shown(source)
    try:
        written, warnings = converting.converted(source, folder, definitions.known)
    except (CommandFailed, errors.GatewayError) as failure:
        _say(sys.stderr, [f"error: {line}" for line in _told(shown, failure)])
        return False
    _say(sys.stderr, [f"{shown}: {warning}" for warning in warnings])
    _say(sys.stdout, [str(written)])
    return True


def _told(source: str, failure: CommandFailed | errors.GatewayError) -> list[str]:
    """Return lines that all name the file."""
    from gateway.cli.conversion import Unconverted

    message = failure.message
    first = message if message.startswith(source) else f"{source}: {message}"
    if isinstance(failure, Unconverted) and failure.nodes:
        return [first, *(f"{source}: {node}" for node in failure.nodes)]
    return [first, *([f"{source}: {failure.hint}"] if failure.hint else [])]


def _say(stream: Any, lines: list[str]) -> None:
    stream.writelines(f"{plain(line)}\n" for line in lines)
    stream.flush()
