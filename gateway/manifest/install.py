"""Carries a manifest out: what ComfyUI needs before it starts, and models after that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from gateway import errors
from gateway.config import Settings
from gateway.log import logger
from gateway.manifest import apt
from gateway.manifest.apt import Apt
from gateway.manifest.lock import Lock, LockFile
from gateway.manifest.nodes import Nodes
from gateway.manifest.pip import Pip, find
from gateway.manifest.programs import masked
from gateway.manifest.schema import Manifest, ModelEntry

FetchModel = Callable[[ModelEntry], Awaitable[str]]
Install = Callable[[Sequence[str]], Awaitable[None]]


class Installer:
    """Installs what is not there yet; may be cancelled at any instant and run again."""

    def __init__(
        self,
        settings: Settings,
        manifest: Manifest,
        fetch_model: FetchModel,
        tell: Callable[[str], None],
    ) -> None:
        #: What could not be installed, in order.
        self.problems: list[errors.InstallFailed] = []
        self._settings = settings
        self._manifest = manifest
        self._fetch_model = fetch_model
        self._tell_others = tell
        self._file = LockFile(settings.state / "manifest.lock.json")
        self._lock = Lock()
        self._may_go_on = settings.on_manifest_error == "skip"

    async def before_start(self) -> None:
        """Install everything that ComfyUI is not started without.

        Raises InstallFailed for what cannot be installed, unless ON_MANIFEST_ERROR is skip.
        """
        self.problems.clear()
        self._lock = await asyncio.to_thread(self._file.read)
        await self._install_apt()
        await self._install_for_python()
        await self._fetch(self._manifest.models.before_start)
        self._stop_on_problems()

    async def after_start(self) -> None:
        """Fetch the models that may come while ComfyUI runs; failures are logged and kept."""
        await self._fetch(self._manifest.models.after_start)

    # Packages

    async def _install_apt(self) -> None:
        wanted = self._manifest.apt
        there = await asyncio.to_thread(apt.installed) if wanted else {}
        missing = apt.missing(wanted, there)
        if missing:
            await self._install_all("apt", missing, Apt().install)
            there = await asyncio.to_thread(apt.installed)
        found = {item: there.get(item.partition("=")[0]) for item in wanted}
        found = {item: version for item, version in found.items() if version}
        if self._lock.apt != found:
            self._lock.apt = found
            await self._save()

    async def _install_for_python(self) -> None:
        if not (self._manifest.pip or self._manifest.custom_nodes):
            return
        settings = self._settings
        if settings.engine_kind == "embedded" and settings.comfy_python is None:
            logger.warning(
                "The manifest's pip packages and custom nodes are left out: the embedded engine "
                "has no use for them; set COMFY_HOME, or COMFY_PYTHON to install them all the same"
            )
            return
        pip = None
        try:
            environment = await find(settings.engine_python(), self._lock)
            self._lock.use(environment)
            pip = Pip(environment)
        except errors.InstallFailed as failure:
            self._note("ComfyUI's Python", failure)
        if pip is not None:
            await self._install_pip(pip)
            await self._install_nodes(pip)

    async def _install_pip(self, pip: Pip) -> None:
        wanted, before = self._manifest.pip, self._lock.pip
        # What the manifest names no more may be replaced by what it names now.
        known = {item: before[item] for item in map(masked, wanted) if item in before}
        if known != before:
            self._lock.pip = known
            await self._save()
        missing = [item for item in wanted if masked(item) not in known]

        async def install(items: Sequence[str]) -> None:
            await pip.install(items)
            for item in items:
                self._lock.pip[masked(item)] = await asyncio.to_thread(pip.version_of, item)
            await self._save()

        if missing:
            await self._install_all("pip", missing, install)

    async def _install_all(self, kind: str, items: Sequence[str], install: Install) -> None:
        """Install all at once, so that they fit together; one by one to find what does not."""
        self._tell(f"{kind}: {', '.join(map(masked, items))}")
        try:
            await install(items)
        except errors.InstallFailed as failure:
            if len(items) == 1:
                self._note(f"{kind} package {masked(items[0])}", failure)
                return
        else:
            return
        for number, item in enumerate(items, 1):
            what = f"{kind} package {masked(item)}"
            self._tell(f"{kind} package {number} of {len(items)}: {masked(item)}")
            await self._attempt(what, partial(install, [item]))

    async def _install_nodes(self, pip: Pip) -> None:
        wanted = self._manifest.custom_nodes
        nodes = Nodes(self._settings, pip, self._lock, self._save)
        await nodes.clean()
        for number, node in enumerate(wanted, 1):
            if not await asyncio.to_thread(nodes.is_done, node):
                self._tell(f"custom node {number} of {len(wanted)}: {node.name}")
                await self._attempt(f"custom node {node.shown}", partial(nodes.install, node))

    # Models

    async def _fetch(self, models: Sequence[ModelEntry]) -> None:
        """Fetch models in parallel; what fails is noted once all have come to an end."""
        done = 0

        async def fetch(model: ModelEntry) -> errors.GatewayError | None:
            nonlocal done
            try:
                name = await self._fetch_model(model)
            except errors.GatewayError as failure:
                return failure
            done += 1
            self._tell(f"model {done} of {len(models)}: {model.folder}/{name}")
            return None

        if models:
            self._tell(f"models: {len(models)}")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetch(model)) for model in models]
        for model, task in zip(models, tasks, strict=True):
            failure = task.result()
            if failure is not None:
                self._keep(f"model {model.shown}", failure)

    # Failures

    async def _attempt(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except errors.GatewayError as failure:
            self._note(what, failure)

    def _note(self, what: str, failure: errors.GatewayError) -> None:
        self._keep(what, failure)
        self._stop_on_problems()

    def _keep(self, what: str, failure: errors.GatewayError) -> None:
        output = getattr(failure, "last_lines", "")
        problem = errors.InstallFailed(
            f"{what}: {failure.message}", hint=failure.hint, last_lines=output
        )
        problem.__cause__ = failure
        self.problems.append(problem)
        logger.error(
            "The manifest could not be carried out",
            what=what,
            reason=failure.message,
            hint=failure.hint,
            output=output,
        )

    def _stop_on_problems(self) -> None:
        if self.problems and not self._may_go_on:
            raise self._all()

    def _all(self) -> errors.InstallFailed:
        if len(self.problems) == 1:
            return self.problems[0]
        return errors.InstallFailed(
            "\n".join(problem.message for problem in self.problems),
            last_lines="\n".join(problem.last_lines for problem in self.problems).strip(),
        )

    def _tell(self, detail: str) -> None:
        logger.info("Carrying the manifest out", detail=detail)
        self._tell_others(detail)

    async def _save(self) -> None:
        await asyncio.to_thread(self._file.write, self._lock)
