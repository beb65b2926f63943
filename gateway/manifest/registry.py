"""Custom nodes of ComfyUI's registry, by comfy-cli."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway import errors
from gateway.manifest.pip import Pip
from gateway.manifest.programs import Program, run
from gateway.manifest.sources import RegistryNode

_TIMEOUT_S = 3600.0


async def install(
    node: RegistryNode, home: Path | None, folders: Sequence[Path], pip: Pip
) -> list[Path]:
    """Install a node and return its folders; raises InstallFailed."""
    if home is None:
        raise errors.InstallFailed(
            "comfy-cli needs ComfyUI's folder.", hint="Set COMFY_HOME, or give a git URL."
        )
    before = _found(folders)
    lines = await run(
        Program(
            command=[*(_comfy(pip), "--skip-prompt", "--workspace", str(home)), *_install(node)],
            timeout_s=_TIMEOUT_S,
            env=pip.variables(),
        )
    )
    found = _of(node, before, _found(folders))
    if not found:
        # comfy-cli ends with status 0 also for a name that the registry does not have.
        raise errors.InstallFailed(
            f"comfy-cli made no folder for {node.shown}.",
            hint="Look for its name on registry.comfy.org, or give a git URL.",
            last_lines="\n".join(lines),
        )
    return found


def version_of(folder: Path) -> str | None:
    """Return the version that a node tells of itself."""
    try:
        content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    project = content.get("project")
    version = project.get("version") if isinstance(project, dict) else None
    return version if isinstance(version, str) else None


def _comfy(pip: Pip) -> str:
    path = os.pathsep.join([str(pip.bin), os.environ.get("PATH", os.defpath)])
    program = shutil.which("comfy", path=path)
    if program is None:
        raise errors.InstallFailed(
            "Nodes of the registry need comfy-cli, and there is none.",
            hint=f"Install it ({pip.python} -m pip install comfy-cli), or give a git URL.",
        )
    return program


def _install(node: RegistryNode) -> list[str]:
    return ["node", "install", node.shown]


def _found(folders: Sequence[Path]) -> dict[Path, int]:
    found: dict[Path, int] = {}
    for folder in folders:
        if folder.is_dir():
            found |= {entry: entry.stat().st_mtime_ns for entry in folder.iterdir()}
    return {path: changed for path, changed in found.items() if _is_node(path)}


def _is_node(path: Path) -> bool:
    hidden = path.name.startswith((".", "__")) or path.name.endswith(".disabled")
    return path.is_dir() and not hidden


def _of(node: RegistryNode, before: Mapping[Path, int], after: Mapping[Path, int]) -> list[Path]:
    """Return the folders that are new; else those that bear the node's name."""
    new = sorted(path for path in after if path not in before)
    return new or sorted(path for path in after if _plain(path.name) == _plain(node.name))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
