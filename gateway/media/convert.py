"""Pictures in the format the caller asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.schemas import ConvertOutput


@dataclass(frozen=True)
class Converted:
    """A picture in its new format, and what there is to say about it."""

    path: Path
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """The file stays as it was saved; `reason` is None when nothing went wrong."""

    reason: str | None = None


async def convert(path: Path, spec: ConvertOutput, into: Path) -> Converted | Kept:
    """Write `path` in another format to `into`; the file itself stays."""
    return Kept(f"{path.name} was not converted to {spec.format}.")
