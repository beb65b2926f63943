"""Workflows and manifests as files here, read as a gateway would read its WORKFLOW_DIR."""

from __future__ import annotations

import contextlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import flags as flagging
from gateway.cli import settings as setting
from gateway.cli.failure import CommandFailed

if TYPE_CHECKING:
    from gateway.workflows.catalog import Catalog, Entry
    from gateway.workflows.convert import Converted
    from gateway.workflows.files.assembly import Candidate
    from gateway.workflows.files.mistakes import Mistake
    from gateway.workflows.workflow import Workflow

#: Makes a graph of a file in the format of the canvas.
Converting = Callable[[Path], Awaitable["Converted"]]


@dataclass(frozen=True)
class Checked:
    """How many workflows were looked at, and what is wrong: FILE:LINE:COLUMN: sentence."""

    workflows: int
    mistakes: list[str]
    #: What could not be looked at, and what the conversion of a file warns of.
    notes: list[str]
    #: How many could not.
    unchecked: int = 0

    @property
    def told(self) -> str:
        """What came of it, where there is no mistake."""
        count = "1 workflow" if self.workflows == 1 else f"{self.workflows} workflows"
        said = f"{count}, nothing to change" if self.workflows else "Nothing to change"
        return f"{said}; {self.unchecked} not checked." if self.unchecked else f"{said}."


async def check(paths: Sequence[Path], source: str | None = None) -> Checked:
    """Return what is wrong with folders and files; raises CommandFailed for what is not there.

    `source` tells the node classes, as `--object-info`: without it, workflows in the format of
    the canvas are not looked at.
    """
    from gateway.api import routes
    from gateway.cli import object_info

    definitions = await object_info.read(source) if source is not None else {}
    count = unchecked = 0
    mistakes: list[str] = []
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            raise CommandFailed(f"{path}: there is no such file or folder.")
        root = path if path.is_dir() else _root(path)
        async with _catalog(root, definitions, routes.is_taken) as catalog:
            name = None if path.is_dir() else _name(path, root)
            entries = [entry for entry in catalog.entries() if name in (None, entry.name)]
            waiting = sum(entry.waits for entry in entries)
            count, unchecked = count + len(entries) - waiting, unchecked + waiting
            mistakes += _told(root, _mistakes(catalog, name))
            notes += _notes(entries)
    return Checked(count, list(dict.fromkeys(mistakes)), list(dict.fromkeys(notes)), unchecked)


async def workflow(path: Path, convert: Converting) -> Workflow | None:
    """Return the workflow of a file that has a manifest; raises CommandFailed.

    None where a picture has one beside it that is of another file. Where the graph is in the
    format of the canvas, it is what `convert` makes of its file.
    """
    root = _root(path)
    name = _name(path, root)
    async with _catalog(root) as catalog:
        found = catalog.candidate(name)
        if found is None or (flagging.is_media(path) and not _is_of(found, path, root)):
            return None
        if found.canvas is None or not found.waits:
            return _of(catalog, root, name)
    made = {found.canvas: await convert(root / found.canvas)}
    async with _catalog(root, made=made) as catalog:
        return _of(catalog, root, name)


def _is_of(found: Candidate, path: Path, root: Path) -> bool:
    """Whether a manifest names the picture, or is so broken that it may."""
    is_read = found.files != frozenset(found.source.files)
    named = path.resolve().relative_to(root.resolve()).as_posix() in found.files
    return named or not (is_read or found.source.graph)


def _of(catalog: Catalog, root: Path, name: str) -> Workflow:
    wrong = _told(root, _mistakes(catalog, name))
    if wrong:
        raise CommandFailed("The workflow has mistakes.", hint="\n      ".join(wrong))
    return catalog.get(name)


def _root(path: Path) -> Path:
    """Return the folder that the names of a file's workflows begin at."""
    folder = setting.read().workflow_dir
    return folder if path.resolve().is_relative_to(folder.resolve()) else path.parent


def _name(path: Path, root: Path) -> str:
    return _stem(path.resolve().relative_to(root.resolve()))


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()


@contextlib.asynccontextmanager
async def _catalog(
    root: Path,
    definitions: Mapping[str, Any] | None = None,
    is_taken: Callable[[str], bool] = lambda _: False,
    made: Mapping[str, Converted] | None = None,
) -> AsyncIterator[Catalog]:
    from gateway import given, log
    from gateway.workflows.catalog import Catalog, Conversion
    from gateway.workflows.python.scripts import Scripts

    # What a gateway writes into its log is told here otherwise.
    log.configure("error", "console", log.stderr())
    async with Scripts.open() as scripts:
        deepest = setting.read().max_json_depth
        reading = Conversion(lambda: definitions or {}, given.embedded_in, deepest, made=made or {})
        catalog = Catalog(root, scripts, is_taken, reading)
        await catalog.load()
        yield catalog


def _mistakes(catalog: Catalog, name: str | None) -> Iterable[Mistake]:
    """Return what is wrong in the folder, or with one name in it."""
    if name is None:
        return catalog.mistakes
    own = [wrong for entry in catalog.entries() if entry.name == name for wrong in entry.mistakes]
    return {*own, *(wrong for wrong in catalog.mistakes if _stem(Path(wrong.file)) == name)}


def _notes(entries: Sequence[Entry]) -> Iterator[str]:
    """Tell what was not looked at, in one line, and what conversions warn of."""
    waiting = [entry.name for entry in entries if entry.waits]
    if waiting:
        yield (
            f"not checked: {', '.join(waiting)}, in the format of the canvas; "
            "--object-info tells what ComfyUI's nodes take."
        )
    for entry in entries:
        for warning in entry.workflow.warnings if entry.workflow is not None else ():
            yield f"{entry.name}: {warning}"


def _told(root: Path, mistakes: Iterable[Mistake]) -> list[str]:
    return [
        f"{root / wrong.file}:{wrong.line}:{wrong.column}: {wrong.message}"
        for wrong in sorted(mistakes)
    ]
