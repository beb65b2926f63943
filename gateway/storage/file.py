"""Files of this machine, below the folders that the operator names: `file:///abs/path`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mimetypes
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, ClassVar
from urllib.parse import unquote, urlsplit

from gateway import errors
from gateway.opening import opened
from gateway.schemas import Auth
from gateway.storage.failures import MISMATCH, TransferFailed, Verdict
from gateway.storage.partfile import sync_folder
from gateway.storage.provider import WHOLE, ProviderName, Reply, Span, Stat

CHUNK_BYTES = 1 << 20
_FORM = "Write it as file:///folder/file."
_ROOTS = "Name the folder that holds it in ALLOWED_FILE_ROOTS."
_ABSENT = Verdict("there is no such file", "url", hint="Check the path.")
_NO_FILE = Verdict("it is not a file", "url", hint="Name a file, not a folder or a device.")
_OUTSIDE = Verdict("it lies in no folder that file URLs may name", "url", hint=_ROOTS)
_DENIED = Verdict(
    "the gateway may not read or write it",
    "network",
    hint="Give the gateway's user access to the file.",
)

#: Those failures of the system that a caller is told of; the disk's own stay what they are.
FOREIGN: dict[type[OSError], Verdict] = {
    FileNotFoundError: _ABSENT,
    NotADirectoryError: _ABSENT,
    IsADirectoryError: _NO_FILE,
    PermissionError: _DENIED,
}
#: The same for those that have no class of their own.
NUMBERED = {errno.ENAMETOOLONG: _ABSENT, errno.ELOOP: _ABSENT}
_UNREADABLE = Verdict("the disk that it lies on cannot be read", "network", True)


@dataclass(frozen=True)
class FileReply:
    """A part of a file that is being read."""

    start: int
    stat: Stat
    file: BinaryIO
    length: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes; raises TransferFailed when the file has become shorter."""
        left = self.length
        while left:
            with _reading():
                chunk = await asyncio.to_thread(self.file.read, min(left, CHUNK_BYTES))
            if not chunk:
                raise TransferFailed(MISMATCH)
            left -= len(chunk)
            yield chunk


@dataclass(frozen=True)
class _Source:
    """A file that was opened, and what the disk says of it."""

    file: BinaryIO
    stat: Stat

    def close(self) -> None:
        self.file.close()


class FileProvider:
    """Reads and writes below `roots`; without roots, nothing."""

    name: ClassVar[ProviderName] = "file"

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = tuple(root.expanduser().absolute() for root in roots)

    def check(self, url: str, location: str | None = None) -> None:
        """Raise InvalidInput for a URL that names no file below a root."""
        try:
            self._judge(_path(url))
        except TransferFailed as failure:
            raise errors.InvalidInput(
                f"This file URL cannot be used: {failure.verdict.reason}.",
                hint=failure.verdict.hint,
                location=location,
            ) from None

    def _judge(self, path: Path) -> None:
        # Links are looked at when it is read: nobody may wait for the disk here.
        if not any(path.is_relative_to(root) for root in self._roots):
            raise TransferFailed(_OUTSIDE)

    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what a write lacks: a folder that may be written to."""
        return None if self._roots else f"No folder may be written to. {_ROOTS}"

    async def stat(self, url: str, auth: Auth | None) -> Stat:
        """Return what the disk says of a file; raises TransferFailed."""
        async with opened(partial(self._opened, url)) as source:
            return source.stat

    @contextlib.asynccontextmanager
    async def read(self, url: str, auth: Auth | None, span: Span = WHOLE) -> AsyncIterator[Reply]:
        """Read a part of a file; raises TransferFailed."""
        async with opened(partial(self._opened, url)) as source:
            size = source.stat.size or 0
            end = size if span.end is None else min(span.end, size)
            is_other = span.version is not None and span.version != source.stat.version
            if is_other or span.start > end:
                raise TransferFailed(MISMATCH)
            source.file.seek(span.start)
            yield FileReply(span.start, source.stat, source.file, end - span.start)

    async def write(self, url: str, auth: Auth | None, source: Path, content_type: str) -> None:
        """Copy a file there, beside and renamed; raises TransferFailed, OSError of the disk."""
        await asyncio.to_thread(self._written, url, source)

    async def close(self) -> None:
        """Nothing is held."""

    def _resolved(self, path: Path) -> Path:
        with _told():
            # Not `Path.resolve`: of links that lead in a circle it makes a RuntimeError.
            found = Path(os.path.realpath(path))
            if not any(found.is_relative_to(os.path.realpath(root)) for root in self._roots):
                raise TransferFailed(_OUTSIDE)
        return found

    def _opened(self, url: str) -> _Source:
        path = self._resolved(_path(url))
        with _reading():
            # Not blocking: to open a pipe waits for its other end. No link: it was resolved.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.fdopen(os.open(path, flags), "rb", buffering=0)
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            file.close()
            raise TransferFailed(_NO_FILE)
        told = Stat(
            size=found.st_size,
            version=f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}",
            content_type=mimetypes.guess_type(path.name)[0],
            filename=path.name,
            is_ranged=True,
        )
        return _Source(file, told)

    def _written(self, url: str, source: Path) -> None:
        wanted = _path(url)
        folder = self._resolved(wanted.parent)
        target = folder / wanted.name
        if target.is_symlink() or (target.exists() and not target.is_file()):
            raise TransferFailed(_NO_FILE)
        with source.open("rb") as opened, _told():
            folder.mkdir(parents=True, exist_ok=True)
            _placed(opened, target)
        sync_folder(folder)


def _placed(source: BinaryIO, target: Path) -> None:
    beside = target.with_name(f".upload-{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            shutil.copyfileobj(source, file, CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        verdict = FOREIGN.get(type(failure)) or NUMBERED.get(failure.errno or 0)
        if verdict is None:
            raise
        raise TransferFailed(verdict) from failure


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Tell of every failure, since it is not the gateway's own disk."""
    try:
        with _told():
            yield
    except OSError as failure:
        raise TransferFailed(_UNREADABLE) from failure


def _path(url: str) -> Path:
    try:
        parts = urlsplit(url)
        text = unquote(parts.path, errors="strict")
    except ValueError:
        raise TransferFailed(Verdict("it is not a file URL", "url", hint=_FORM)) from None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not text.startswith("/"):
        raise TransferFailed(Verdict("it is not the URL of an absolute path", "url", hint=_FORM))
    if parts.query or parts.fragment:
        raise TransferFailed(
            Verdict("its path has an unescaped ? or #", "url", hint="Escape them as %3F and %23.")
        )
    if "\x00" in text or ".." in text.split("/") or text.endswith("/"):
        raise TransferFailed(Verdict("its path has .., NUL or a trailing /", "url", hint=_FORM))
    return Path(text)
