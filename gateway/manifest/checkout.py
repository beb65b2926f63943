"""A custom node's git repository: made beside its place, and changed without losing anything."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

from gateway import errors
from gateway.manifest.programs import Program, run
from gateway.manifest.sources import SCHEMES, GitNode, same_repository

_TIMEOUT_S = 1800.0
#: Longer than any clone takes: what is older was left behind, by whomever.
_LEFTOVER_S = 86400.0
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


class Checkout:
    """One node's repository, and the folder it belongs in."""

    def __init__(self, node: GitNode, folder: Path) -> None:
        self._node = node
        self.folder = folder

    async def clone(self, instance: str) -> str | None:
        """Make the folder, at once and whole; return its commit, None when another was faster."""
        stage = await asyncio.to_thread(_stage, self.folder, instance)
        try:
            await self._git(stage, "init", "--quiet")
            await self._git(stage, "remote", "add", "--", "origin", self._node.url)
            commit = await self._fetch(stage)
            await self._check_out(stage, commit)
            return commit if await asyncio.to_thread(_move, stage, self.folder) else None
        finally:
            # After the move there is nothing at its place.
            await asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True)

    async def head(self) -> str:
        """Return the commit that is checked out; InstallFailed when this is not the node's."""
        if not (self.folder / ".git").exists():
            raise errors.InstallFailed(
                f"{self.folder} is there already, and is no git repository.",
                hint="Move it away, or take the node out of the manifest.",
            )
        found = await self._git(
            self.folder, "config", "--default", "", "--get", "remote.origin.url"
        )
        remote = found[-1] if found else ""
        if not same_repository(remote, self._node.url):
            raise errors.InstallFailed(
                f"{self.folder} is a repository of {remote or 'nobody'}, not of {self._node.url}.",
                hint="Move it away, or name that repository in the manifest.",
            )
        return (await self._git(self.folder, "rev-parse", "--verify", "HEAD"))[-1]

    async def target(self) -> str:
        """Fetch and return the commit that the manifest wants; InstallFailed on local changes."""
        changed = await self._git(
            self.folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules"
        )
        if changed:
            raise errors.InstallFailed(
                f"{self.folder} has local changes, and is left as it is.",
                hint=f"Commit or undo them, or take @{self._node.ref} out of the manifest.",
                last_lines="\n".join(changed),
            )
        return await self._fetch(self.folder)

    async def change(self, commit: str, *, is_resumed: bool = False) -> None:
        """Check a fetched commit out; resumed: over what a killed attempt left half done."""
        if is_resumed:
            (self.folder / ".git" / "index.lock").unlink(missing_ok=True)
        await self._check_out(self.folder, commit, *(["--force"] if is_resumed else []))

    async def _check_out(self, folder: Path, commit: str, *options: str) -> None:
        await self._git(folder, "checkout", "--quiet", "--detach", *options, commit)
        if (folder / ".gitmodules").exists():
            await self._git(folder, "submodule", "--quiet", "update", "--init", "--recursive")

    async def _fetch(self, folder: Path) -> str:
        """Return the commit of the wanted ref, with as little history as the server allows."""
        url, ref = self._node.url, self._node.ref or "HEAD"
        try:
            await self._git(folder, "fetch", "--depth", "1", "--no-tags", "--", url, ref)
        except errors.InstallFailed as failure:
            is_absent = "couldn't find remote ref" in failure.last_lines
            if is_absent and not _COMMIT.fullmatch(ref):
                raise self._no_such_ref(failure.last_lines) from None
        else:
            return (await self._git(folder, "rev-parse", "--verify", "FETCH_HEAD^{commit}"))[-1]
        return await self._fetch_all(folder, ref)

    async def _fetch_all(self, folder: Path, ref: str) -> str:
        """For servers that give no single commit, and for commits that are cut short."""
        is_shallow = (folder / ".git" / "shallow").exists()
        depth = ["--unshallow"] if is_shallow else []
        wanted = ["+refs/heads/*:refs/remotes/origin/*"]
        if ref == "HEAD":
            wanted.append("+HEAD:refs/remotes/origin/HEAD")
        await self._git(folder, "fetch", "--force", "--tags", *depth, "--", self._node.url, *wanted)
        for name in (f"refs/tags/{ref}", f"refs/remotes/origin/{ref}", ref):
            try:
                commit = f"{name}^{{commit}}"
                found = await self._git(folder, "rev-parse", "--quiet", "--verify", commit)
            except errors.InstallFailed:
                continue
            return found[-1]
        raise self._no_such_ref("")

    def _no_such_ref(self, last_lines: str) -> errors.InstallFailed:
        return errors.InstallFailed(
            f"{self._node.url} has no branch, tag or commit {self._node.ref!r}.",
            hint="Write the URL of the repository, then @ and the branch, tag or commit.",
            last_lines=last_lines,
        )

    async def _git(self, folder: Path, *arguments: str) -> list[str]:
        settings = [
            # Hooks of the operator's own templates are not for these.
            *("-c", "core.hooksPath=/dev/null"),
            # A mounted folder may belong to another user.
            *("-c", "safe.directory=*"),
            *("-c", "advice.detachedHead=false"),
        ]
        command = ["git", *settings, "-C", str(folder), *arguments]
        credentials = [self._node.credentials] if self._node.credentials else []
        return await run(
            Program(command=command, timeout_s=_TIMEOUT_S, env=self._env(), secrets=credentials)
        )

    def _env(self) -> dict[str, str]:
        allowed = [*SCHEMES, *(["file"] if self._node.url.startswith("file:") else [])]
        env = {"GIT_ALLOW_PROTOCOL": ":".join(allowed)}
        if self._node.credentials is None:
            return env
        # Not in the command line, which anyone may list, and not in the repository's own file.
        count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
        host = "/".join(self._node.url.split("/")[:3])
        token = base64.b64encode(_user_and_password(self._node.credentials).encode()).decode()
        return env | {
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": f"http.{host}/.extraHeader",
            f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {token}",
        }


def _user_and_password(credentials: str) -> str:
    return credentials if ":" in credentials else f"{credentials}:"


def instance_of(state: Path) -> str:
    """Return what tells this gateway's unfinished clones from those of its neighbours."""
    return hashlib.sha256(f"{socket.gethostname()} {state}".encode()).hexdigest()[:8]


def remove_leftovers(nodes: Path, instance: str) -> None:
    """Remove clones that were never finished: ours, and those of long ago."""
    oldest = time.time() - _LEFTOVER_S
    for entry in nodes.glob(".*.clone.disabled"):
        try:
            is_old = entry.stat().st_mtime < oldest
        except FileNotFoundError:
            continue
        if is_old or f".{instance}." in entry.name:
            shutil.rmtree(entry, ignore_errors=True)


def _stage(folder: Path, instance: str) -> Path:
    # ComfyUI loads every folder of custom nodes but those called *.disabled.
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(
            tempfile.mkdtemp(
                prefix=f".{folder.name}.{instance}.", suffix=".clone.disabled", dir=folder.parent
            )
        )
    except OSError as failure:
        raise errors.InstallFailed(
            f"{folder.parent} cannot be written: {failure.strerror}."
        ) from failure


def _move(stage: Path, folder: Path) -> bool:
    stage.chmod(0o755)  # mkdtemp lets nobody else in
    try:
        stage.rename(folder)
    except OSError as failure:
        if failure.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise errors.InstallFailed(f"{folder} cannot be made: {failure.strerror}.") from failure
    return True
