"""A whole file by hf_xet, in a process of its own.

Of its own, since hf_xet takes its settings from the environment, holds much memory, writes into
the home folder unless told otherwise, and stops for nothing but a signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.storage.hf_address import File
from gateway.storage.partial import gathered

#: Below this, starting a process takes longer than it gains.
WORTH_BYTES = 64 << 20
_PROGRAM = Path(__file__).with_name("hf_program.py")
_EVERY_S = 0.25
_STALL_S = 120.0
#: Of the environment, what reaches the program: the way out, and how hf_xet is tuned.
_KEPT = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "PATH", "LANG")
_KEPT_PREFIX = "HF_XET_"


@dataclass(frozen=True)
class Order:
    """What is to be fetched; `token` reaches the program by its input alone."""

    endpoint: str
    file: File
    commit: str
    token: str | None
    size: int

    def line(self, folder: Path) -> bytes:
        """Return it as the program reads it."""
        arguments = {
            "repo_id": self.file.repo.name,
            "repo_type": self.file.repo.kind,
            "filename": self.file.path,
            "revision": self.commit,
            "endpoint": self.endpoint,
            "token": self.token or False,
            "local_dir": str(folder / "files"),
        }
        return json.dumps(arguments).encode() + b"\n"


def is_available() -> bool:
    """Whether hf_xet is installed, and HF_HUB_DISABLE_XET does not forbid it."""
    is_off = os.environ.get("HF_HUB_DISABLE_XET", "").upper() in ("1", "ON", "YES", "TRUE")
    return not is_off and importlib.util.find_spec("hf_xet") is not None


async def fetched(order: Order, path: Path, tell: Callable[[int], None]) -> bool:
    """Whether the file is now at `path`, complete; else nothing is left there."""
    folder = gathered(path)
    await asyncio.to_thread(_emptied, folder)
    try:
        if not await _is_run(order, folder, tell):
            return False
        return await asyncio.to_thread(_is_moved, folder / "files" / order.file.path, path, order)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def started(endpoint: str, folder: Path) -> asyncio.subprocess.Process:
    """Start the program; it waits for its order, and ends when its input does."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(_PROGRAM)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(endpoint, folder),
        start_new_session=True,
    )


async def _is_run(order: Order, folder: Path, tell: Callable[[int], None]) -> bool:
    process = await started(order.endpoint, folder)
    ended = asyncio.ensure_future(process.wait())
    assert process.stdin is not None
    try:
        process.stdin.write(order.line(folder))
        await _watched(ended, order, folder, tell)
    finally:
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended
        process.stdin.close()
    return process.returncode == 0


async def _watched(
    ended: asyncio.Future[int], order: Order, folder: Path, tell: Callable[[int], None]
) -> None:
    now = asyncio.get_running_loop().time
    here, grown_at = 0, now()
    while not ended.done() and now() - grown_at < _STALL_S:
        await asyncio.wait([ended], timeout=_EVERY_S)
        found = await asyncio.to_thread(bytes_in, folder / "files")
        if found > here:
            here, grown_at = found, now()
            tell(min(here, order.size))


def _environment(endpoint: str, folder: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _KEPT or name.startswith(_KEPT_PREFIX)
    }
    home = str(folder / "home")
    return kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": home,
        "HOME": home,
        "HF_XET_CACHE": str(folder / "home" / "xet"),
        "HF_XET_CHUNK_CACHE_SIZE_BYTES": "0",
        "HF_XET_TELEMETRY_ENABLED": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)


def bytes_in(folder: Path) -> int:
    """Return the bytes that are on the disk: the file is written at several places at once."""
    found = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found += os.stat(os.path.join(path, name)).st_blocks * 512
    return found


def _is_moved(source: Path, path: Path, order: Order) -> bool:
    if not source.is_file() or source.stat().st_size != order.size:
        return False
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(path)
    return True
