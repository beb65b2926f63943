"""Outputs that ComfyUI has written: found, described, and removed when nobody is owed them."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway import errors
from gateway.media import names, sniff

_FLAGS = {
    "output": "--output-directory",
    "input": "--input-directory",
    "temp": "--temp-directory",
}
_SHOWN = 200
_CLOCK_SKEW_S = 60.0


@dataclass(frozen=True)
class Folders:
    """ComfyUI's folders, as the gateway reaches them."""

    output: Path
    input: Path
    temp: Path

    @property
    def roots(self) -> tuple[Path, Path]:
        """The folders that outputs are removed from."""
        return self.output, self.temp

    def of(self, kind: str) -> Path | None:
        """Return the folder of a type of output; None for a type ComfyUI does not have."""
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(kind)


@dataclass(frozen=True)
class Described:
    """What a file is; `size` in bytes."""

    content_type: str
    size: int
    width: int | None
    height: int | None


def locate(folders: Folders, filename: str, subfolder: str, kind: str) -> Path:
    """Return where an output lies; raises OutputMissing. It touches the disk."""
    folder = folders.of(kind)
    name = f"{subfolder}/{filename}" if subfolder else filename
    shown = name[:_SHOWN]
    if folder is None:
        raise errors.OutputMissing(
            f"ComfyUI reported {shown!r} of type {kind!r}, which is no folder."
        )
    path = _inside(folder, name)
    if path is None:
        raise errors.OutputMissing(
            f"ComfyUI reported {shown!r}, which leads out of {folder}.",
            hint="A custom node saves elsewhere; outputs must lie in ComfyUI's own folders.",
        )
    if not _is_file(path):
        # ComfyUI appends "temp" to what --temp-directory names.
        wanted = folder.parent if kind == "temp" else folder
        raise errors.OutputMissing(
            f"ComfyUI reported {shown!r} ({kind}), and there is no such file in {folder}.",
            hint=f"If ComfyUI writes to another folder, start it with {_FLAGS[kind]} {wanted}.",
        )
    return path


def _inside(folder: Path, name: str) -> Path | None:
    try:
        return names.inside(folder, name)
    except (OSError, ValueError):
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # Longer than the file system takes.
        return False


async def describe(path: Path) -> Described:
    """Return what a file is, read from its header alone; raises OutputMissing."""
    return await asyncio.to_thread(described, path)


def described(path: Path) -> Described:
    """Return what a file is; for a thread. Raises OutputMissing."""
    try:
        return _described(path)
    except FileNotFoundError:
        raise errors.OutputMissing(f"{path.name} was there and is gone.") from None


def _described(path: Path) -> Described:
    with path.open("rb") as file:
        kind = sniff.kind_of(file.read(sniff.HEAD_BYTES))
        file.seek(0)
        size = sniff.size_in(file) if kind is not None else None
    mime = kind.mime if kind else mimetypes.guess_type(path.name)[0]
    width, height = size or (None, None)
    return Described(mime or "application/octet-stream", path.stat().st_size, width, height)


def is_of(path: Path, job_id: str, since: float) -> bool:
    """Whether a job made a file that one of its nodes reported: it bears its id, or is as new.

    `since` is when the job came, seconds since 1970. It touches the disk.
    """
    if job_id in str(path):
        return True
    # The folder may be a network disk whose clock is not ours.
    try:
        return path.stat().st_mtime >= since - _CLOCK_SKEW_S
    except OSError:
        return False


def saved_under(root: Path, prefix: str) -> list[Path]:
    """Return the files that ComfyUI has numbered under a filename_prefix; it touches the disk."""
    named = re.compile(re.escape(Path(prefix).name) + r"_\d{5,}.*")
    with contextlib.suppress(OSError):
        folder = (root / prefix).parent
        return [path for path in folder.iterdir() if named.fullmatch(path.name)]
    return []


def remove(paths: Iterable[Path], roots: Iterable[Path]) -> None:
    """Remove files that lie below the roots, and the subfolders that are empty then.

    What lies elsewhere, or is gone already, is passed over. It touches the disk.
    """
    known = [root.resolve() for root in roots]
    for path in paths:
        folder = path.parent.resolve()
        root = next((root for root in known if folder.is_relative_to(root)), None)
        if root is None:
            continue
        (folder / path.name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            # Raises at the first folder that is not empty.
            while folder != root:
                folder.rmdir()
                folder = folder.parent
