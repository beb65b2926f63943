"""What is known of a file that has come in part: read after a kill, and after a power cut."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.storage.provider import Stat
from gateway.storage.spans import Range

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_Bytes = Annotated[int, Field(ge=0)]


class Journal(BaseModel):
    """One line of JSON beside a part file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    #: A hash: the URL itself may hold secrets.
    url: str
    size: _Bytes
    version: str
    content_type: str | None = None
    filename: str | None = None
    sha256: str | None = None
    #: The boot in which `written` holds: what the kernel has, a kill does not take.
    boot: str
    written: list[list[_Bytes]]
    #: What the disk has; nothing takes that.
    synced: list[list[_Bytes]]

    @classmethod
    def of(
        cls, url: str, stat: Stat, written: Sequence[Range], synced: Sequence[Range]
    ) -> Journal | None:
        """Return what is noted in this boot; None: nothing could be resumed. `url` is hashed."""
        if stat.version is None or stat.size is None:
            return None
        return cls(
            url=url,
            size=stat.size,
            version=stat.version,
            content_type=stat.content_type,
            filename=stat.filename,
            sha256=stat.sha256,
            boot=boot_id(),
            written=[list(pair) for pair in written],
            synced=[list(pair) for pair in synced],
        )

    @property
    def stat(self) -> Stat:
        """What the source said of the file."""
        return Stat(
            self.size, self.version, self.content_type, self.filename, self.sha256, is_ranged=True
        )

    def here(self, boot: str) -> list[Range] | None:
        """Return what the part file holds in this boot; None where that makes no sense."""
        ranges = self.written if boot and boot == self.boot else self.synced
        found: list[Range] = []
        at = 0
        for pair in ranges:
            if len(pair) != 2 or not at <= pair[0] < pair[1] <= self.size:
                return None
            found.append((pair[0], pair[1]))
            at = pair[1]
        return found


def hashed(url: str) -> str:
    """Return what stands for a URL in a journal."""
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


@functools.cache
def boot_id() -> str:
    """Return what is another one after each start of the machine; "" where nothing tells."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def load(path: Path) -> Journal | None:
    """Return what is in `path`; None when there is nothing, or nothing of use."""
    try:
        return Journal.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def save(path: Path, journal: Journal) -> None:
    """Replace what is in `path`; a kill leaves the old one or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, journal.model_dump_json().encode())
    finally:
        os.close(handle)
    fresh.replace(path)


def settle(path: Path) -> None:
    """Make what is in `path` survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
