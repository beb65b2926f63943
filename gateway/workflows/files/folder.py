"""The files of the folder: which there are, what is in them; it blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.workflows.files.mistakes import Mistake
from gateway.workflows.files.sources import is_media

SUFFIXES = (".json", ".yaml", ".yml", ".py")
#: Larger than any workflow that people make; what is larger is not even opened.
LARGEST = 4 * 1024 * 1024
#: Of a picture, a sound or a video, most is not the workflow in it.
LARGEST_MEDIA = 64 * 1024 * 1024
_DEEPEST = 16


class Stamp(NamedTuple):
    """Tells a file from what it was before."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int


@dataclass(frozen=True)
class Listing:
    """What lies in the folder."""

    #: Paths relative to the folder, with /.
    files: Mapping[str, Stamp] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    #: Folders that could not be read this time: what was known of them still holds.
    unread: tuple[str, ...] = ()
    #: The folder itself is not there.
    is_absent: bool = False


def scan(root: Path) -> Listing:
    """Return the files that may be part of a workflow; a folder that is not there has none."""
    found = _Scan(os.path.realpath(root))
    found.folder("", 0)
    mistakes, unread = tuple(sorted(found.mistakes)), tuple(found.unread)
    return Listing(found.files, mistakes, unread, found.is_absent)


def read(root: Path, file: str) -> tuple[bytes, list[Mistake]]:
    """Return a file's bytes, and what kept it from being read."""
    largest = LARGEST_MEDIA if is_media(file) else LARGEST
    try:
        with (root / file).open("rb") as opened:
            raw = opened.read(largest + 1)
    except OSError as failure:
        return b"", [Mistake(file, 1, 1, f"it cannot be read: {failure.strerror}")]
    if len(raw) > largest:
        return b"", [Mistake(file, 1, 1, f"it has more than {largest // 1024**2} MB")]
    return raw, []


def read_text(root: Path, file: str) -> tuple[str, list[Mistake]]:
    """Return a file's text, and what kept it from being read."""
    raw, wrong = read(root, file)
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode(), wrong
    except UnicodeDecodeError as failure:
        before = raw[: failure.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        return "", [Mistake(file, line, column, "this is not UTF-8; save the file as UTF-8")]


class _Scan:
    """One walk through the folder."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.files: dict[str, Stamp] = {}
        self.mistakes: list[Mistake] = []
        self.unread: list[str] = []
        self.is_absent = False

    def folder(self, path: str, depth: int) -> None:
        try:
            with os.scandir(os.path.join(self._root, path)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            self.is_absent = not path
            return
        except OSError as failure:
            self.unread.append(path)
            self._wrong(path or ".", f"this folder cannot be read: {failure.strerror}")
            return
        for entry in found:
            if entry.name.startswith((".", "_")):
                continue
            below = f"{path}/{entry.name}" if path else entry.name
            try:
                self._entry(entry, below, depth)
            except OSError as failure:
                self._wrong(below, f"it cannot be read: {failure.strerror}")

    def _entry(self, entry: os.DirEntry[str], path: str, depth: int) -> None:
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEEPEST:
                self.folder(path, depth + 1)
            else:
                self._wrong(path, f"folders are looked into {_DEEPEST} deep")
        elif entry.is_symlink() and entry.is_dir():
            self._wrong(path, "this is a link to a folder; such links are not followed")
        elif entry.name.endswith(SUFFIXES) or is_media(entry.name):
            self._file(entry, path)

    def _file(self, entry: os.DirEntry[str], path: str) -> None:
        if not _is_text(path):
            self._wrong(path, "the name of this file is not UTF-8")
            return
        try:
            found = entry.stat()
        except FileNotFoundError:
            # Another process took it away between two of our looks: it is simply not there.
            if not entry.is_symlink():
                return
            raise
        if entry.is_symlink() and not self._is_inside(entry.path):
            self._wrong(path, "this is a link that leads out of the folder")
        elif stat.S_ISREG(found.st_mode):
            self.files[path] = Stamp(
                found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
            )

    def _is_inside(self, path: str) -> bool:
        return os.path.realpath(path).startswith(f"{self._root}{os.sep}")

    def _wrong(self, path: str, sentence: str) -> None:
        if is_media(path):
            # It lies there for people; a manifest that names it is told that it is not there.
            return
        shown = path.encode(errors="replace").decode()
        self.mistakes.append(Mistake(shown, 1, 1, sentence))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
