"""What is known of a cached file beside its bytes; no secret is among it."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.storage.partfile import sync_folder


@dataclass(frozen=True, kw_only=True)
class Record:
    """A file that was verified when it was this large."""

    name: str
    #: Fit to be shown.
    url: str | None
    size: int
    #: Hex, when it was ever reckoned.
    sha256: str | None = None
    #: What the source said of it then.
    version: str | None = None
    content_type: str | None = None
    #: Whether it was fetched with a caller's own credentials.
    needs_credentials: bool = False
    #: ISO 8601; None: it was there before us.
    fetched_at: str | None = None
    verified: bool = True
    #: Where ComfyUI sees it.
    links: tuple[str, ...] = ()


def unfinished(stem: str) -> Record:
    """Return the record of a file whose fetch with a caller's credentials has begun."""
    return Record(name=stem, url=None, size=0, needs_credentials=True, verified=False)


def path_of(folder: Path, stem: str) -> Path:
    """Return where the record of a stem lies."""
    return folder / f"{stem}.json"


def read(folder: Path, stem: str) -> Record | None:
    """Return the record; None when there is none, or none that can be read."""
    try:
        found: Any = json.loads(path_of(folder, stem).read_bytes())
        return Record(
            name=str(found["name"]),
            url=found.get("url"),
            size=int(found["size"]),
            sha256=found.get("sha256"),
            version=found.get("version"),
            content_type=found.get("content_type"),
            # What cannot be told is not given away.
            needs_credentials=bool(found.get("needs_credentials", True)),
            fetched_at=found.get("fetched_at"),
            verified=bool(found.get("verified")),
            links=tuple(map(str, found.get("links", ()))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(folder: Path, stem: str, record: Record) -> None:
    """Keep the record, so that a power cut leaves it whole or as it was. Raises OSError."""
    path = path_of(folder, stem)
    beside = folder / f".{stem}.{uuid.uuid4().hex}.tmp"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with beside.open("xb") as file:
            file.write(json.dumps(asdict(record)).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    sync_folder(folder)


def remove(folder: Path, stem: str) -> None:
    """Forget what is known. Raises OSError."""
    path_of(folder, stem).unlink(missing_ok=True)
