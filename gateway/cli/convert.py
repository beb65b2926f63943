"""`gateway convert`: files in, graphs out, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from gateway import graph
from gateway.cli import conversion, fetching, saving, workflow_file
from gateway.cli.failure import CommandFailed
from gateway.cli.workflow_file import Held

AS_IT_IS = "It is in API format already: its graph is written as it is."
_UNNAMED = "workflow.json"

#: Returns the mapping of `/object_info`; raises CommandFailed.
Definitions = Callable[[], Mapping[str, Any]]


@dataclass
class Folder:
    """Where the graphs go: no two to one name, and none over a file that is to be read."""

    path: Path
    #: What is read, as the system tells files apart.
    _read: set[tuple[int, int]] = field(default_factory=set)
    _taken: dict[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, path: Path, sources: Sequence[str]) -> Folder:
        """Return the folder, which is made when it is not there; raises CommandFailed."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise CommandFailed(f"--out {path}: {failure.strerror}.") from None
        return cls(path, {found for source in sources if (found := _identity(Path(source)))})

    def place(self, source: str, held: Held) -> Path:
        """Return where the graph of a file goes; raises CommandFailed where it may not."""
        name = _name(source, held)
        target = self.path / name
        if name in self._taken:
            raise CommandFailed(
                f"The graphs of {self._taken[name]} and of {held.source} would both be {target}.",
                hint="Give files of one name an --out of their own.",
            )
        if _identity(target) in self._read:
            raise CommandFailed(
                f"{target} is an input, and is not written over.", hint="Give another --out."
            )
        self._taken[name] = held.source
        return target


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name(source: str, held: Held) -> str:
    if fetching.is_url(source):
        name = PurePosixPath(unquote(urlsplit(source).path)).name
        name = name if name not in ("", "..") and name.isprintable() else _UNNAMED
    else:
        name = Path(source).name
    return PurePosixPath(name).with_suffix(".json").name if held.is_embedded else name


def converted(source: str, folder: Folder, definitions: Definitions) -> tuple[Path, list[str]]:
    """Write the graph of a file or a URL; return where it is, and what there is to say of it.

    Raises CommandFailed, and what graphs are refused with.
    """
    held = asyncio.run(workflow_file.taken(source))
    target = folder.place(source, held)
    if held.is_canvas:
        workflow, warnings = conversion.graph_of(held, definitions())
    else:
        workflow, warnings = held.file().workflow, [] if held.is_embedded else [AS_IT_IS]
    saving.write_whole(target, graph_text(workflow))
    return target, warnings


def graph_text(workflow: graph.Graph) -> bytes:
    """Return a graph as indented JSON."""
    return orjson.dumps(workflow, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
