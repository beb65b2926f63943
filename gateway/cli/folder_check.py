"""Workflows and manifests as files here, read as a gateway would read its WORKFLOW_DIR."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import settings as setting
from gateway.cli.failure import CommandFailed

if TYPE_CHECKING:
    from gateway.workflows.catalog import Catalog
    from gateway.workflows.files.mistakes import Mistake
    from gateway.workflows.workflow import Workflow


@dataclass(frozen=True)
class Checked:
    """How many workflows were looked at, and what is wrong: FILE:LINE:COLUMN: sentence."""

    workflows: int
    mistakes: list[str]


async def check(paths: Sequence[Path]) -> Checked:
    """Return what is wrong with folders and files; raises CommandFailed for what is not there."""
    from gateway.api import routes

    count, mistakes = 0, []
    for path in paths:
        if not path.exists():
            raise CommandFailed(f"{path}: there is no such file or folder.")
        root = path if path.is_dir() else _root(path)
        async with _catalog(root, routes.is_taken) as catalog:
            name = None if path.is_dir() else _name(path, root)
            count += sum(name in (None, entry.name) for entry in catalog.entries())
            mistakes += _told(root, _mistakes(catalog, name))
    return Checked(count, list(dict.fromkeys(mistakes)))


async def workflow(path: Path) -> Workflow:
    """Return the workflow of a file that has a manifest; raises CommandFailed."""
    root = _root(path)
    name = _name(path, root)
    async with _catalog(root) as catalog:
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
    root: Path, is_taken: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[Catalog]:
    from gateway import log
    from gateway.workflows.catalog import Catalog
    from gateway.workflows.python.scripts import Scripts

    # What a gateway writes into its log is told here otherwise.
    log.configure("error", "console", log.stderr())
    async with Scripts.open() as scripts:
        catalog = Catalog(root, scripts, is_taken)
        await catalog.load()
        yield catalog


def _mistakes(catalog: Catalog, name: str | None) -> Iterable[Mistake]:
    """Return what is wrong in the folder, or with one name in it."""
    if name is None:
        return catalog.mistakes
    own = [wrong for entry in catalog.entries() if entry.name == name for wrong in entry.mistakes]
    return {*own, *(wrong for wrong in catalog.mistakes if _stem(Path(wrong.file)) == name)}


def _told(root: Path, mistakes: Iterable[Mistake]) -> list[str]:
    return [
        f"{root / wrong.file}:{wrong.line}:{wrong.column}: {wrong.message}"
        for wrong in sorted(mistakes)
    ]
