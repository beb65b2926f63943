"""What the suite must know of a storage, and the list of those it runs against.

A new storage is one more file of this folder:

    @storages.add("name")
    async def opened(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
        yield Storage(...)

and its name in `MODULES`.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from gateway.schemas import Auth
from gateway.storage.provider import Provider

from .servers import Servers

#: Planted in every credential, right and wrong: no error may tell it.
SECRET = "planted-3c9f"
MODULES = ("buckets", "azure", "files", "http", "huggingface", "civitai")


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A storage under test."""

    provider: Provider
    #: The URL of a file by its name, which may hold anything.
    url: Callable[[str], str]
    auth: Auth | None = None
    #: Credentials that it refuses.
    wrong: Auth | None = None
    #: The URL of a file in a bucket, a repository or a folder that does not exist.
    nowhere: str | None = None
    #: What an error about that says: a part of its sentence or of its hint.
    nowhere_told: str = ""
    #: Makes a file; None: the provider's own write does.
    plant: Callable[[str, bytes, str], Awaitable[None]] | None = None
    is_writable: bool = True
    is_ranged: bool = True
    #: Whether it keeps the content type that a file was written with.
    keeps_type: bool = True


Opened = Callable[[Servers, Path], AbstractAsyncContextManager[Storage]]
ALL: dict[str, Opened] = {}


def add(
    name: str,
) -> Callable[[Callable[[Servers, Path], AsyncIterator[Storage]]], Opened]:
    """Register a storage under a name."""

    def kept(opened: Callable[[Servers, Path], AsyncIterator[Storage]]) -> Opened:
        ALL[name] = contextlib.asynccontextmanager(opened)
        return ALL[name]

    return kept


def names() -> list[str]:
    """Return the names of all storages."""
    for module in MODULES:
        if Path(__file__).with_name(f"{module}.py").exists():
            importlib.import_module(f"{__package__}.{module}")
    return sorted(ALL)
