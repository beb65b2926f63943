"""What the HTTP edge asks: every collaborator, handed in by the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway import metrics
from gateway.api.keyring import Keyring
from gateway.api.standing import Health
from gateway.comfy.folders import ModelFolders
from gateway.comfy.nodes import Catalog
from gateway.config import Settings
from gateway.jobs.events import Events
from gateway.jobs.job import Job
from gateway.jobs.store import Store
from gateway.jobs.vault import Vault
from gateway.jobs.waiters import Waiters
from gateway.log import logger
from gateway.media.inputs import Inputs
from gateway.media.uploads import Uploads
from gateway.models.library import Library
from gateway.models.resolver import Resolver
from gateway.workflows.catalog import Catalog as Workflows
from gateway.workflows.python.scripts import Scripts


class Background:
    """Work that a request began and does not wait for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._resumable: set[asyncio.Task[None]] = set()

    def spawn(
        self, work: Coroutine[Any, Any, Any], *, is_resumable: bool = False
    ) -> asyncio.Task[None]:
        """Let it run to its end; a failure is logged and counted.

        What is resumable ends with `give_up`: it goes on where it stopped when it is begun anew.
        """
        task = asyncio.create_task(self._guarded(work))
        tasks = self._resumable if is_resumable else self._tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the background-task guard is one of the three places
            metrics.errors_total.labels("background").inc()
            logger.exception("work in the background failed")

    def give_up(self) -> None:
        """End what can be resumed: nobody who stops the gateway waits for a download."""
        for task in self._resumable:
            task.cancel()

    async def finish(self) -> None:
        """Wait for what is under way."""
        self.give_up()
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*self._resumable, return_exceptions=True)


@dataclass(frozen=True)
class Parts:
    """Everything behind the routes."""

    settings: Settings
    store: Store
    events: Events
    waiters: Waiters
    vault: Vault
    inputs: Inputs
    uploads: Uploads
    models: Library
    folders: ModelFolders
    resolver: Resolver
    catalog: Catalog
    workflows: Workflows
    scripts: Scripts
    refresh_classes: Callable[[set[str]], Awaitable[None]]
    discard: Callable[[Job], Awaitable[None]]
    keyring: Keyring
    health: Health
    background: Background
    #: (URL, location); raises InvalidInput for an address that may not be reached.
    check_url: Callable[[str, str], None]
    #: Whether what a job needs is being fetched.
    is_preparing: Callable[[str], bool]
    salt: bytes


PARTS = web.AppKey("parts", Parts)
