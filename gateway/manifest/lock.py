"""Remembers what the manifest has installed, so that nothing is done twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gateway import errors
from gateway.log import logger

_VERSION = 1


@dataclass(kw_only=True)
class Environment:
    """ComfyUI's Python, as the packages were installed into it."""

    #: As the settings name it, and the file behind it.
    python: str
    executable: str
    version: str
    #: File inside the environment that says which one it is; lost with the environment.
    stamp: str
    id: str
    #: Where its packages lie.
    packages: list[str]


@dataclass(kw_only=True)
class NodeRecord:
    """One custom node, as it was installed."""

    #: Folders below the custom nodes.
    folders: list[str]
    #: Clone URL, and commit; None for a node of the registry.
    url: str | None = None
    commit: str | None = None
    #: Set while a checkout is being changed to this commit.
    changing_to: str | None = None
    #: Hashes of the files that were carried out in this environment.
    requirements: str | None = None
    install_script: str | None = None


@dataclass(kw_only=True)
class Lock:
    """Everything that was installed; an item's key is how the manifest's entry is shown."""

    version: int = _VERSION
    environment: Environment | None = None
    #: Package -> its version.
    apt: dict[str, str | None] = field(default_factory=dict)
    #: Requirement -> the version that met it; None when it has no name.
    pip: dict[str, str | None] = field(default_factory=dict)
    custom_nodes: dict[str, NodeRecord] = field(default_factory=dict)

    def use(self, environment: Environment) -> None:
        """Note ComfyUI's environment; what was installed into another one is not in it."""
        if self.environment is not None and self.environment.id == environment.id:
            self.environment = environment
            return
        self.environment = environment
        self.pip.clear()
        for record in self.custom_nodes.values():
            record.requirements = record.install_script = None


class LockFile:
    """STATE_DIR/manifest.lock.json; both calls touch the disk and belong in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Lock:
        """Return what was installed; nothing when the file is not there or not whole."""
        try:
            content: Any = json.loads(self.path.read_bytes())
            lock = TypeAdapter(Lock).validate_python(content)
        except FileNotFoundError:
            return Lock()
        except (OSError, ValueError, ValidationError) as failure:
            logger.warning(
                "The manifest's lock file cannot be read; everything is looked at again",
                file=str(self.path),
                reason=type(failure).__name__,
            )
            return Lock()
        return lock if lock.version == _VERSION else Lock()

    def write(self, lock: Lock) -> None:
        """Write it beside its place and move it there; raises InstallFailed."""
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                json.dump(asdict(lock), file, indent=2, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as failure:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise errors.InstallFailed(
                f"{self.path} cannot be written: {failure.strerror}."
            ) from failure


def hash_of(path: Path) -> str | None:
    """Return the SHA-256 of a file; None when there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
