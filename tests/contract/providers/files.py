"""Files of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from gateway.storage.file import FileProvider

from . import storages
from .servers import Servers
from .storages import Storage


@storages.add("file")
async def files(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    provider = FileProvider((folder,))
    yield Storage(
        provider=provider,
        url=lambda name: f"file://{quote(f'{folder}/{name}')}",
        nowhere=f"file://{folder.parent}/elsewhere/x",
        nowhere_told="ALLOWED_FILE_ROOTS",
        keeps_type=False,
    )
    await provider.close()
