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
    """ComfyUI's Python, as packages were installed into it."""

    #: The program, and what tells it from another one at the same path.
    executable: str
    identity: str
    version: str
    prefix: str
    #: Where its packages lie.
    packages: list[str]
    #: Environments made by uv have none.
    has_pip: bool
    #: File among them that bears the id: it is lost when the environment is.
    stamp: str
    id: str


@dataclass(kw_only=True)
class NodeRecord:
    """One custom node, as it was installed."""

    #: The manifest's entry, as it is shown.
    source: str
    #: Its folders, whole paths.
    folders: list[str]
    #: Commit, or version.
    resolved: str | None = None
    #: Set while the checkout is on its way to this commit.
    changing_to: str | None = None
    #: Hashes of the files that were carried out in this environment.
    requirements: str | None = None
    install_script: str | None = None


@dataclass(kw_only=True)
class Lock:
    """Everything that was installed."""

    version: int = _VERSION
    environment: Environment | None = None
    #: Package -> its version.
    apt: dict[str, str | None] = field(default_factory=dict)
    #: Requirement -> the version that met it; None when it has no name.
    pip: dict[str, str | None] = field(default_factory=dict)
    #: Name of a node -> what is known of it.
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
