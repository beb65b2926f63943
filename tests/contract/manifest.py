"""What a manifest is carried out on: git repositories, packages, an environment; no network."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.config import Settings
from gateway.manifest import schema
from gateway.manifest.install import Installer
from gateway.manifest.lock import Lock, LockFile

_IDENTITY = {
    **{f"GIT_{who}_NAME": "tester" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "tester@example.org" for who in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
_watched: list[list[str]] | None = None


def _note_program(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _watched is not None:
        _watched.append([str(word) for word in arguments[1]])


sys.addaudithook(_note_program)


@contextmanager
def watched_programs() -> Iterator[list[list[str]]]:
    """Every program that this process starts meanwhile, whoever starts it."""
    global _watched  # noqa: PLW0603
    _watched = found = []
    try:
        yield found
    finally:
        _watched = None


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **_IDENTITY},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


class Repository:
    """A repository that others clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}"
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch", "main")

    def commit(self, **files: str) -> str:
        """Commit files (`_` stands for `.` in their names) and return the commit."""
        for name, content in files.items():
            (self.folder / name.replace("_", ".")).write_text(content)
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", "change")
        return git(self.folder, "rev-parse", "HEAD")


def wheel(folder: Path, name: str, version: str) -> Path:
    """Make a package that pip can install without building it."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return path


def program(folder: Path, name: str, code: str) -> Path:
    """Make a program out of Python code."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return path


class World:
    """Settings and a place to install into; each `installer` is a start of the gateway."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = python
        self.nodes = folder / "custom_nodes"
        self.told: list[str] = []

    def repository(self, name: str = "node") -> Repository:
        return Repository(self.folder / "remotes" / name)

    def settings(self, **given: Any) -> Settings:
        home = self.folder / "ComfyUI"
        home.mkdir(exist_ok=True)
        return Settings.model_validate(
            {
                "comfy_home": home,
                "comfy_python": self.python,
                "custom_nodes_dir": self.nodes,
                "state_dir": self.folder / "state",
                "allowed_file_roots": str(self.folder),
                **given,
            }
        )

    def installer(
        self,
        manifest: str,
        fetch_model: Callable[[schema.ModelEntry], Awaitable[str]] | None = None,
        **given: Any,
    ) -> Installer:
        settings = self.settings(**given)
        found = schema.parse(manifest, "manifest.yaml", settings)
        return Installer(settings, found, fetch_model or no_models, self.told.append)

    async def install(self, manifest: str, **given: Any) -> Installer:
        installer = self.installer(manifest, **given)
        await installer.before_start()
        return installer

    @property
    def lock(self) -> Lock:
        return LockFile(self.folder / "state" / "manifest.lock.json").read()

    def import_from_comfy(self, code: str) -> str:
        """Run code with ComfyUI's Python and return what it prints."""
        done = subprocess.run(
            [self.python, "-c", code], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


async def no_models(_: schema.ModelEntry) -> str:
    raise AssertionError("no model was asked for")
