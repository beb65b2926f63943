"""What every storage can do: tell of a file, read it from any byte on, write one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, runtime_checkable

from gateway.schemas import Auth

#: The label of the metrics.
ProviderName = Literal["http", "huggingface", "civitai", "s3", "gcs", "azure", "file"]


@dataclass(frozen=True)
class Stat:
    """What a source says of a file."""

    #: Bytes, where the source tells.
    size: int | None
    #: Changes with the content: a strong ETag, a settled Last-Modified. None: it cannot be told.
    version: str | None = None
    content_type: str | None = None
    #: The name in Content-Disposition, or what else the source calls it.
    filename: str | None = None
    #: Hex, where the source tells it.
    sha256: str | None = None
    #: Whether parts of it can be asked for.
    is_ranged: bool = False


@dataclass(frozen=True)
class Span:
    """The bytes from `start` up to but not including `end`; `end` None: to the file's end.

    With `version`, only of that version: another one is a TransferFailed of MISMATCH, or a reply
    from byte 0 on.
    """

    start: int = 0
    end: int | None = None
    version: str | None = None


#: All of a file, whichever version.
WHOLE = Span()


class Reply(Protocol):
    """A body on its way: the bytes of the file from `start` on."""

    @property
    def start(self) -> int:
        """The byte of the file that the body begins at; 0 when the source ignored the span."""
        ...

    @property
    def stat(self) -> Stat:
        """What is known of the whole file."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; raises TransferFailed."""
        ...


@dataclass(frozen=True)
class Described:
    """A body on its way from one host, with what another one knows of the file."""

    inner: Reply
    stat: Stat

    @property
    def start(self) -> int:
        """The byte of the file that the body begins at."""
        return self.inner.start

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; raises TransferFailed."""
        return self.inner.chunks()


class Provider(Protocol):
    """One kind of storage. Everything raises TransferFailed, never a foreign error."""

    name: ClassVar[ProviderName]

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told without asking anyone: InvalidInput, InputNotFetched."""
        ...

    async def stat(self, url: str, auth: Auth | None) -> Stat:
        """Return what the source says of the file, without its body."""
        ...

    def read(
        self, url: str, auth: Auth | None, span: Span = WHOLE
    ) -> AbstractAsyncContextManager[Reply]:
        """Ask for a part of the file, or for all of it."""
        ...

    async def write(self, url: str, auth: Auth | None, source: Path, content_type: str) -> None:
        """Upload a file, streamed from the disk; what was there under this URL is replaced."""
        ...


@runtime_checkable
class WholeProvider(Protocol):
    """A provider that has a faster way than parts for some of its files."""

    async def fetch_whole(
        self,
        url: str,
        auth: Auth | None,
        path: Path,
        reserve: Callable[[int], Awaitable[None]],
        tell: Callable[[int], None],
    ) -> Stat | None:
        """Fetch a file into `path`, synced, and return what is known of it.

        None: this way does not lead to it, and nothing is left at `path`; use `read`. `reserve` is
        awaited with the size before the first byte is written; `tell` hears how many are here.
        """
        ...
