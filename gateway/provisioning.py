"""What the manifest asks for, done around the start of ComfyUI."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from gateway import setting_values
from gateway.config import Settings
from gateway.manifest.install import Installer
from gateway.manifest.schema import Manifest, ModelEntry
from gateway.models.library import Library
from gateway.models.wanted import Want
from gateway.storage import credentials


class Provisioning:
    """Carries a manifest out; without one there is nothing to do."""

    def __init__(self, settings: Settings, manifest: Manifest | None, library: Library) -> None:
        self._settings = settings
        self._manifest = manifest or Manifest()
        self._library = library
        self._installer: Installer | None = None

    def model_inputs(self) -> dict[str, dict[str, str]]:
        """Return class -> input -> folder: what MODEL_INPUTS says, then what the manifest says."""
        found = {name: dict(given) for name, given in self._manifest.model_inputs.items()}
        for name, given in setting_values.model_inputs(self._settings.model_inputs).items():
            found[name] = {**found.get(name, {}), **given}
        return found

    async def before_start(self, tell: Callable[[str], None]) -> None:
        """Install what ComfyUI is not started without; raises InstallFailed."""
        self._installer = Installer(self._settings, self._manifest, self._fetch, tell)
        await self._installer.before_start()

    async def after_start(self, wait_ready: Callable[[], Awaitable[None]]) -> None:
        """Fetch the models that may come later, once ComfyUI is ready."""
        await wait_ready()
        if self._installer is not None:
            await self._installer.after_start()

    async def _fetch(self, entry: ModelEntry) -> str:
        holder = f"manifest-{uuid.uuid4().hex}"
        url, found = credentials.taken_out(entry.url)
        want = Want(
            url=url,
            folder=entry.folder,
            name=entry.filename,
            auth=found.auth if found else None,
            sha256=entry.sha256,
        )
        try:
            [brought] = await self._library.bring([want], holder)
        finally:
            self._library.release(holder)
        return brought.name
