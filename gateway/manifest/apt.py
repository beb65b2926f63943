"""Packages of the system, by apt-get."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gateway import errors
from gateway.manifest.programs import Program, run

#: What dpkg itself keeps: it tells what is there without running a program.
STATUS = Path("/var/lib/dpkg/status")

_TIMEOUT_S = 1800.0
_HINT = "Put the packages into the image, or run the gateway as root on Debian or Ubuntu."
_ENV = {"DEBIAN_FRONTEND": "noninteractive"}
_OPTIONS = (
    *("-o", "DPkg::Lock::Timeout=120"),
    *("-o", "Dpkg::Options::=--force-confdef"),
    *("-o", "Dpkg::Options::=--force-confold"),
)


def installed(status: Path = STATUS) -> dict[str, str]:
    """Return package -> version of what is installed, also as name:architecture."""
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): ?(.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" ok installed"):
            found |= _names(fields)
    return found


def _names(fields: Mapping[str, str]) -> dict[str, str]:
    name, version = fields.get("Package", ""), fields.get("Version", "")
    provided = re.split(r"\s*,\s*", fields.get("Provides", ""))
    virtual = {entry.split(" ")[0].partition(":")[0]: version for entry in provided if entry}
    return virtual | {name: version, f"{name}:{fields.get('Architecture', '')}": version}


def missing(wanted: Iterable[str], there: Mapping[str, str]) -> list[str]:
    """Return the packages (name or name=version) that are not there."""
    return [item for item in wanted if not _is_there(*item.partition("=")[::2], there)]


def _is_there(name: str, version: str, there: Mapping[str, str]) -> bool:
    return name in there and version in ("", there[name])


class Apt:
    """Installs packages; looks for newer lists once."""

    def __init__(self, *, is_root: bool | None = None) -> None:
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._is_updated = False

    async def install(self, packages: Sequence[str]) -> None:
        """Install packages; raises InstallFailed."""
        program = shutil.which("apt-get")
        if program is None:
            raise errors.InstallFailed("There is no apt-get on this system.", hint=_HINT)
        if not self._is_root:
            raise errors.InstallFailed("apt-get needs root, and this is not root.", hint=_HINT)
        if not self._is_updated:
            await self._run(program, "update")
            self._is_updated = True
        await self._run(program, "install", "-y", "--no-install-recommends", "--", *packages)

    async def _run(self, program: str, *arguments: str) -> None:
        await run(Program(command=[program, *_OPTIONS, *arguments], timeout_s=_TIMEOUT_S, env=_ENV))
