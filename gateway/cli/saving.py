"""Files that the command line writes: beside their place, and renamed when they are whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp

from gateway.cli.failure import CommandFailed


def unique_names(outputs: list[dict[str, Any]]) -> list[str]:
    """Return a file name for each output; a name that was there already gets the index."""
    names: list[str] = []
    for entry in outputs:
        name = PurePosixPath(entry["filename"].replace("\\", "/")).name
        name = "output" if name in ("", "..") else name
        names.append(f"{entry['index']}-{name}" if name in names else name)
    return names


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield what is there already, as chunks come."""
    yield data


async def write(file: Path, chunks: AsyncIterator[bytes]) -> None:
    """Write a file, its folders too; who looks at it sees the old one or the new one, whole."""
    part = _beside(file)
    try:
        with await asyncio.to_thread(_create, part) as target:
            async for chunk in chunks:
                await asyncio.to_thread(target.write, chunk)
        await asyncio.to_thread(os.replace, part, file)
    except OSError as failure:
        if isinstance(failure, aiohttp.ClientError | TimeoutError):
            raise
        raise CommandFailed(f"{file}: {failure.strerror}.") from None
    finally:
        # Where no file could be made, none can be removed, and the reason was told above.
        with contextlib.suppress(OSError):
            part.unlink()


def write_whole(file: Path, data: bytes) -> None:
    """Write a file in one go, where nothing else waits; raises CommandFailed."""
    part = _beside(file)
    try:
        with part.open("wb") as target:
            target.write(data)
        part.replace(file)
    except OSError as failure:
        raise CommandFailed(f"{file}: {failure.strerror}.") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _beside(file: Path) -> Path:
    # Cut, so that it is no longer than a name may be where the file's own is not.
    return file.with_name(f".{file.name[:40]}.{uuid.uuid4().hex[:8]}.part")


def _create(part: Path) -> Any:
    part.parent.mkdir(parents=True, exist_ok=True)
    return part.open("wb")
