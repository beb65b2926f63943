"""The files of claims: written exclusively, ended by one of all who want to, watched for change."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.storage import author as authors
from gateway.storage.author import Author

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
#: How file systems without hard links say so.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
#: Seconds after which what is still beside a name was left by a killed process.
_LEFTOVER_AGE_S = 3600.0


@dataclass(frozen=True)
class Record:
    """What a claim says."""

    token: str
    author: Author | None
    reserved: int
    #: Differs whenever the holder has touched the file.
    beat: int


def end(path: Path, token: str, lease_s: float, first: Callable[[], None] = lambda: None) -> None:
    """Remove the claim of this token; of all who want to, only one does, after it did `first`.

    Raises OSError.
    """
    over = over_of(path, token)
    try:
        os.close(make(over, written(token, authors.own(), 0)))
    except FileExistsError:
        # Whoever was about to end it may have been killed over it.
        left = read(over)
        if left is not None and is_left(over, left, lease_s):
            over.unlink(missing_ok=True)
        return
    except OSError as failure:
        # No room for it: then nobody else has any, either.
        if failure.errno not in _DISK_FULL:
            raise
    try:
        found = read(path)
        if found is not None and found.token == token:
            first()
            path.unlink(missing_ok=True)
    finally:
        over.unlink(missing_ok=True)


def is_left(over: Path, left: Record, lease_s: float) -> bool:
    """Whether who was about to end a claim is gone."""
    if left.author is not None and left.author.host == authors.own().host:
        return authors.is_gone(left.author) or WITNESS.is_silent(over, left, lease_s)
    return WITNESS.is_silent(over, left, lease_s)


def over_of(path: Path, token: str) -> Path:
    """Return the file that only one can make, and who makes it ends the claim of this token."""
    return path.with_name(f"{path.stem}.{token}.over")


def make(path: Path, text: bytes) -> int:
    """Make a file that must not exist and has its text from the first instant on.

    A kill thus leaves none whose author nobody knows. Returns its descriptor. Raises OSError.
    """
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    file = create(beside, os.O_RDWR)
    try:
        os.pwrite(file, text, 0)
        _name(file, beside, path)
    except OSError as failure:
        os.close(file)
        if failure.errno not in _NO_LINKS:
            raise
        return _made_in_two_steps(path, text)
    finally:
        beside.unlink(missing_ok=True)
    return file


def _name(file: int, beside: Path, path: Path) -> None:
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        # Over NFS a link that was made may be answered so, when the first answer was lost.
        if os.fstat(file).st_nlink < 2:
            raise


def _made_in_two_steps(path: Path, text: bytes) -> int:
    file = create(path, os.O_RDWR)
    try:
        os.pwrite(file, text, 0)
    except OSError:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    return file


def remove_unnamed(path: Path) -> None:
    """Remove what a killed process was about to make, when it is old. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
            path.unlink()


def create(path: Path, mode: int) -> int:
    """Make a file that must not exist, and return its descriptor. Raises OSError."""
    flags = mode | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def written(token: str, author: Author, reserved: int) -> bytes:
    """Return a claim's text, whose length does not depend on what is reserved."""
    said = json.dumps({"token": token, **vars(author)})
    return f'{said[:-1]}, "reserved": {reserved:20d}}}'.encode()


def read(path: Path) -> Record | None:
    """Return what a claim says; None when there is none. Raises OSError."""
    try:
        with path.open("rb") as file:
            status, text = os.fstat(file.fileno()), file.read(4096)
    except FileNotFoundError:
        return None
    try:
        said: Any = json.loads(text)
        author = Author(said["host"], said["pid"], said["started"])
        return Record(said["token"], author, said["reserved"], status.st_mtime_ns)
    except (ValueError, KeyError, TypeError):
        # Its holder is about to write it, or was killed before it could.
        return Record(f"unwritten-{status.st_ino}", None, 0, status.st_mtime_ns)


class Witness:
    """Remembers since when each claim has not changed, by this process's own clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[Path, tuple[Record, float]] = {}

    def is_silent(self, path: Path, found: Record, lease_s: float) -> bool:
        """Whether the claim has said nothing new for `lease_s`."""
        with self._lock:
            last, since = self._seen.get(path, (None, 0.0))
            if last != found:
                self._seen[path] = (found, time.monotonic())
                return False
            return time.monotonic() - since > lease_s

    def forget_others(self, folder: Path, paths: set[Path]) -> None:
        """Forget what is no longer in the folder."""
        with self._lock:
            for path in [path for path in self._seen if path.parent == folder]:
                if path.suffix == ".claim" and path not in paths:
                    del self._seen[path]


WITNESS = Witness()
