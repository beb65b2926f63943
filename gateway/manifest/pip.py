"""Packages of ComfyUI's own environment, by pip."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from gateway import errors
from gateway.manifest.lock import Environment, Lock
from gateway.manifest.programs import Program, run

_TIMEOUT_S = 3600.0
_PROBE_TIMEOUT_S = 60.0
_STAMP = "comfy_gateway_environment.txt"
#: User packages count where pip falls back to them: the environment belongs to another user.
_PROBE = """
import importlib.util, json, site, sys, sysconfig
found = [sysconfig.get_path("purelib")]
found += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
has_pip = importlib.util.find_spec("pip") is not None
print()
print(json.dumps([sys.version.split()[0], sys.prefix, found, has_pip]))
"""


async def find(python: str, lock: Lock) -> Environment:
    """Return the environment of a Python, without running it when the lock knows it."""
    executable = await asyncio.to_thread(_executable, python)
    known = lock.environment
    if known is not None and await asyncio.to_thread(_is_still, known, executable):
        return known
    probe = Program(command=[executable, "-c", _PROBE], timeout_s=_PROBE_TIMEOUT_S)
    version, prefix, packages, has_pip = json.loads((await run(probe))[-1])
    stamp, marker = await asyncio.to_thread(_stamped, packages)
    return Environment(
        executable=executable,
        identity=_identity(executable),
        version=version,
        prefix=prefix,
        packages=packages,
        has_pip=has_pip,
        stamp=str(stamp),
        id=marker,
    )


def _executable(python: str) -> str:
    found = shutil.which(python)
    if found is None:
        raise errors.InstallFailed(
            f"ComfyUI's Python ({python}) cannot be found.", hint="Name it in COMFY_PYTHON."
        )
    # Not resolved: what makes a virtual environment's Python is where its link lies.
    return os.path.abspath(found)


def _is_still(known: Environment, executable: str) -> bool:
    return (
        known.executable == executable
        # Without either, pip may have been installed since.
        and (known.has_pip or shutil.which("uv") is not None)
        and known.identity == _identity(executable)
        and _content(Path(known.stamp)) == known.id
    )


def _identity(executable: str) -> str:
    found = os.stat(executable)
    return f"{os.path.realpath(executable)} {found.st_size} {found.st_mtime_ns}"


def _stamped(packages: Sequence[str]) -> tuple[Path, str]:
    """Return the stamp and its id; one that is there is kept, since others may know it."""
    stamps = [Path(folder) / _STAMP for folder in packages]
    for stamp in stamps:
        if os.access(stamp.parent, os.W_OK) and (marker := _content(stamp)):
            return stamp, marker
    marker = secrets.token_hex(16)
    for stamp in stamps:
        try:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text(marker, encoding="utf-8")
        except OSError:
            continue
        return stamp, marker
    raise errors.InstallFailed(
        f"Nothing can be written to ComfyUI's packages ({', '.join(packages)}).",
        hint="Give the gateway's user the right to, or name another Python in COMFY_PYTHON.",
    )


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


class Pip:
    """Installs into one environment."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @property
    def python(self) -> str:
        """The environment's Python."""
        return self._environment.executable

    @property
    def bin(self) -> Path:
        """Folder of the environment's programs."""
        return Path(self._environment.executable).parent

    def variables(self) -> dict[str, str]:
        """Return what makes programs find this environment, and not the gateway's own."""
        found = {"PATH": os.pathsep.join([str(self.bin), os.environ.get("PATH", os.defpath)])}
        if (Path(self._environment.prefix) / "pyvenv.cfg").exists():
            found["VIRTUAL_ENV"] = self._environment.prefix
        return found

    async def install(self, requirements: Sequence[str]) -> None:
        """Install requirements; raises InstallFailed."""
        await self._run(["--", *requirements], None)

    async def install_file(self, file: Path) -> None:
        """Install what a requirements file names; raises InstallFailed."""
        await self._run(["--requirement", str(file)], file.parent)

    def version_of(self, requirement: str) -> str | None:
        """Return the version that is there, as the environment's folders tell it."""
        name = _canonical(re.split(r"[\s\[(<>=!~;@]", requirement, maxsplit=1)[0])
        for folder in self._environment.packages:
            for info in Path(folder).glob("*.dist-info"):
                found, _, version = info.name.removesuffix(".dist-info").partition("-")
                if _canonical(found) == name:
                    return version
        return None

    async def _run(self, arguments: Sequence[str], cwd: Path | None) -> None:
        command = [*self._installer(), *self._constraints(), *arguments]
        await run(Program(command=command, timeout_s=_TIMEOUT_S, cwd=cwd, env=self.variables()))

    def _installer(self) -> list[str]:
        if self._environment.has_pip:
            options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
            return [self.python, "-m", "pip", "install", *options]
        uv = shutil.which("uv")
        if uv is None:
            raise errors.InstallFailed(
                f"{self.python} has no pip, and there is no uv.",
                hint=f"Run {self.python} -m ensurepip, or install uv.",
            )
        return [uv, "pip", "install", "--no-progress", "--python", self.python]

    def _constraints(self) -> list[str]:
        # The image pins the base's torch there: no custom node may replace it.
        file = Path(self._environment.prefix) / "constraints.txt"
        return ["--constraint", str(file)] if file.is_file() else []


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
