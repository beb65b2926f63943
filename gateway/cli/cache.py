"""`gateway cache`: what it holds, what may go, and whether it is whole."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli.client import Client, Refused
from gateway.cli.failure import CommandFailed

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


async def listed(client: Client) -> dict[str, Any]:
    """Return what GET /cache says, the file used last at the end."""
    found = await client.ask("GET", "/cache")
    found["files"].sort(key=lambda file: file["last_used"])
    return found


def row(file: dict[str, Any], size: Callable[[int], str]) -> tuple[str, ...]:
    """Return a file as a line of the table: name, size, last use, pins, links, URL."""
    return (
        file["name"],
        size(file["size"]),
        file["last_used"][:19].replace("T", " "),
        str(len(file["pins"])),
        ", ".join(file["links"]),
        file["url"] or "",
    )


def seconds(age: str) -> float:
    """Return how long 90, 30m, 12h, 7d or 2w is."""
    found = re.fullmatch(r"(\d{1,9})([smhdw]?)", age.strip().lower(), re.ASCII)
    if not found:
        raise CommandFailed(f"{age!r} is not an age.", hint="For example: 30m, 12h, 7d, 2w.")
    return float(found[1]) * _UNITS[found[2] or "s"]


async def prune(client: Client, age: float | None) -> list[dict[str, Any]]:
    """Delete what no job needs, and return it; with `age`, only what was not used for so long."""
    deleted = []
    for file in prunable((await listed(client))["files"], age, time.time()):
        try:
            async with client.request("DELETE", f"/cache/{quote(file['name'], safe='')}"):
                deleted.append(file)
        except Refused as refused:
            # A job came for it meanwhile, or somebody else deleted it.
            if refused.status not in (404, 409):
                raise
    return deleted


def prunable(files: list[dict[str, Any]], age: float | None, now: float) -> list[dict[str, Any]]:
    """Return the files that nobody needs, and that nobody used for `age` seconds."""
    return [
        file
        for file in files
        if not file["pins"] and (age is None or _last_used(file) <= now - age)
    ]


def _last_used(file: dict[str, Any]) -> float:
    return datetime.fromisoformat(file["last_used"]).timestamp()


def verify(folder: Path) -> tuple[int, list[str]]:
    """Read every file of a cache folder; return how many there are, and what is wrong."""
    from gateway.models.cache import verify_folder

    try:
        found = list(verify_folder(folder))
    except OSError as failure:
        raise CommandFailed(
            f"CACHE_DIR={folder} cannot be read: {failure.strerror or failure}."
        ) from None
    return len(found), [f"{name}: {why}" for name, is_whole, why in found if not is_whole]
