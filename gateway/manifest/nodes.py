"""Custom nodes: their folders, their requirements, their install scripts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.config import Settings
from gateway.manifest import checkout, registry
from gateway.manifest.checkout import Checkout
from gateway.manifest.lock import Lock, NodeRecord, hash_of
from gateway.manifest.pip import Pip
from gateway.manifest.programs import Program, run
from gateway.manifest.sources import GitNode, RegistryNode

_SCRIPT_TIMEOUT_S = 3600.0

Node = GitNode | RegistryNode


class Nodes:
    """Installs custom nodes, each step of it noted in the lock before the next."""

    def __init__(
        self, settings: Settings, pip: Pip, lock: Lock, save: Callable[[], Awaitable[None]]
    ) -> None:
        self._root = settings.custom_nodes
        home = settings.comfy_home
        self._home = home.expanduser().absolute() if home else None
        self._pip = pip
        self._lock = lock
        self._save = save
        self._instance = checkout.instance_of(settings.state)

    def is_done(self, node: Node) -> bool:
        """Whether nothing is left to do for a node; looks at files only, and runs nothing."""
        record = self._lock.custom_nodes.get(node.name)
        if record is None or not _is_there(record, node):
            return False
        return not _steps(record)

    async def clean(self) -> None:
        """Remove what killed installations left."""
        await asyncio.to_thread(checkout.remove_leftovers, self._root, self._instance)

    async def install(self, node: Node) -> None:
        """Do what is left to do for a node; raises InstallFailed."""
        record = self._lock.custom_nodes.get(node.name)
        if record is None or not await asyncio.to_thread(_is_there, record, node):
            record = await self._place(node, record)
        await self._carry_out(record)

    async def _place(self, node: Node, record: NodeRecord | None) -> NodeRecord:
        if isinstance(node, RegistryNode):
            return await self._from_registry(node)
        folder = self._root / node.name
        found = Checkout(node, folder)
        if not await asyncio.to_thread(os.path.lexists, folder):
            commit = await found.clone(self._instance)
            if commit is not None:
                return await self._note(node, NodeRecord(source="", folders=[str(folder)]), commit)
        if record is None or record.folders != [str(folder)]:
            record = NodeRecord(source="", folders=[str(folder)])
        return await self._note(node, record, await self._bring(node, found, record))

    async def _bring(self, node: GitNode, found: Checkout, record: NodeRecord) -> str:
        """Bring a folder that is there to the wanted commit, and return it."""
        head = await found.head()
        if record.changing_to is not None:
            await found.change(record.changing_to, is_resumed=True)
            head, record.changing_to = record.changing_to, None
            record.install_script = None
        if node.ref in (None, head):
            return head
        wanted = await found.target()
        if wanted != head:
            record.changing_to = wanted
            self._lock.custom_nodes[node.name] = record
            await self._save()
            await found.change(wanted)
            # Another version of the node may have more to do in the same script.
            record.install_script = None
        return wanted

    async def _from_registry(self, node: RegistryNode) -> NodeRecord:
        folders = [self._root]
        if self._home is not None and self._home / "custom_nodes" != self._root:
            folders.append(self._home / "custom_nodes")
        made = await registry.install(node, self._home, folders, self._pip)
        record = NodeRecord(source="", folders=[str(path) for path in made])
        # comfy-cli has carried these out itself.
        record.requirements = hash_of(made[0] / "requirements.txt")
        record.install_script = hash_of(made[0] / "install.py")
        return await self._note(node, record, registry.version_of(made[0]))

    async def _note(self, node: Node, record: NodeRecord, resolved: str | None) -> NodeRecord:
        record.source, record.resolved, record.changing_to = node.shown, resolved, None
        self._lock.custom_nodes[node.name] = record
        await self._save()
        return record

    async def _carry_out(self, record: NodeRecord) -> None:
        folder = Path(record.folders[0])
        for step, content in (await asyncio.to_thread(_steps, record)).items():
            if step == "requirements":
                await self._pip.install_file(folder / "requirements.txt")
                record.requirements = content
            else:
                await self._run_script(folder)
                record.install_script = content
            await self._save()

    async def _run_script(self, folder: Path) -> None:
        env = self._pip.variables()
        if self._home is not None:
            env["COMFYUI_PATH"] = str(self._home)
        command = [self._pip.python, str(folder / "install.py")]
        await run(Program(command=command, timeout_s=_SCRIPT_TIMEOUT_S, cwd=folder, env=env))


def _is_there(record: NodeRecord, node: Node) -> bool:
    is_same = record.source == node.shown and record.changing_to is None
    return is_same and all(Path(folder).is_dir() for folder in record.folders)


def _steps(record: NodeRecord) -> dict[str, str]:
    """Return step -> hash of its file, for the steps that were not taken with this file."""
    folder = Path(record.folders[0])
    found = {
        "requirements": (hash_of(folder / "requirements.txt"), record.requirements),
        "install_script": (hash_of(folder / "install.py"), record.install_script),
    }
    return {step: now for step, (now, before) in found.items() if now and now != before}
