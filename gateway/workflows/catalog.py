"""The folder of named workflows, as it is on the disk now."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import ne
from pathlib import Path
from typing import Any

from gateway import errors, metrics
from gateway.log import logger
from gateway.workflows.files import python_file, watching
from gateway.workflows.files.assembly import Candidate
from gateway.workflows.files.conversion import Conversion
from gateway.workflows.files.mistakes import Mistake
from gateway.workflows.files.python_file import Scripts
from gateway.workflows.files.service import Entry, Service, settle
from gateway.workflows.files.snapshot import Snapshot, look
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling.presets import Preset
from gateway.workflows.workflow import Workflow

__all__ = ["WAITS", "Catalog", "Conversion", "Entry", "Mistake"]

#: What a workflow in the format of the canvas waits for, before ComfyUI is known.
WAITS = (
    "It is in the format of the canvas, and is converted as soon as ComfyUI has told what its "
    "nodes take."
)
_CLOSEST = 3
#: As long as ComfyUI takes to start, when nobody knows better.
_RETRY_AFTER_S = 5.0


class Catalog:
    """The workflows of a folder; a file that breaks leaves its last good version in service."""

    def __init__(
        self,
        folder: Path,
        scripts: Scripts | None = None,
        is_taken: Callable[[str], bool] = lambda _: False,
        conversion: Conversion | None = None,
    ) -> None:
        """`is_taken` tells the addresses that the gateway itself answers at."""
        self._folder = folder
        self._conversion = conversion or Conversion()
        #: What the files in the format of the canvas were last converted with, all of them.
        self._definitions: Mapping[str, Any] | None = None
        self._scripts = scripts
        self._is_taken = lru_cache(4096)(is_taken)
        self._snapshot = Snapshot()
        self._service = Service()
        self._looking = asyncio.Lock()
        self._inspecting = asyncio.Lock()
        self._looked = asyncio.Event()
        self._is_loaded = False
        #: Grows with every change: what is derived from the folder is kept by it.
        self.version = 0

    # Questions

    @property
    def presets(self) -> Mapping[str, Preset]:
        """Those that are built in, and the operator's own."""
        return self._snapshot.shared.presets

    @property
    def lora_presets(self) -> Mapping[str, tuple[Lora, ...]]:
        """Lists of LoRAs, by the names that the operator gave them."""
        return self._snapshot.shared.lora_presets

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """All that is wrong in the folder, also in files that are of no one workflow."""
        found = [wrong for entry in self.entries() for wrong in entry.mistakes]
        return tuple(sorted({*self._snapshot.common_mistakes, *found}))

    def entries(self) -> Sequence[Entry]:
        """Return every name, sorted."""
        return list(self._service.entries.values())

    def get(self, name: str) -> Workflow:
        """Return the version in service. Raises WorkflowNotFound, WorkflowBroken, NotReady."""
        entry = self._service.entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if entry.workflow is None and entry.waits:
            raise errors.NotReady(
                f"The workflow {name} is not ready yet. {WAITS}", retry_after=_RETRY_AFTER_S
            )
        if entry.workflow is None:
            first, more = entry.mistakes[0], len(entry.mistakes) - 1
            others = f" (and {more} more)" if more else ""
            raise errors.WorkflowBroken(
                f"The workflow {name} cannot be used: {first}{others}.",
                hint="Correct the file; it is live as soon as it is saved.",
            )
        return entry.workflow

    def candidate(self, name: str) -> Candidate | None:
        """Return what the files of a name amount to as they are now, be it in service or not."""
        return self._snapshot.candidates.get(name)

    def by_route(self, path: str) -> Workflow | None:
        """Return the workflow whose manifest names this address as its route; raises NotReady."""
        name = self._service.routes.get(path)
        return self.get(name) if name is not None else None

    def _unknown(self, name: str) -> errors.GatewayError:
        candidate = self._snapshot.candidates.get(name)
        if candidate is not None and candidate.is_pending:
            return errors.WorkflowBroken(
                f"The workflow {name} was not looked into yet: its code has not run.",
                hint="Ask again in a few seconds; GET /workflows lists it then.",
            )
        return errors.WorkflowNotFound(
            f"There is no workflow called {name[:200]!r}.", hint=self._closest(name)
        )

    def _closest(self, name: str) -> str:
        names = list(self._service.entries)
        close = difflib.get_close_matches(name[:200], names, _CLOSEST, 0.4)
        if close:
            return f"The closest: {', '.join(close)}. GET /workflows lists all."
        for wrong in self._snapshot.common_mistakes:
            return f"GET /workflows lists all. Perhaps it is for this: {wrong}."
        if not names:
            return "There is no workflow in WORKFLOW_DIR."
        return "GET /workflows lists all."

    # The folder

    async def load(self, patience_s: float | None = None) -> None:
        """Read the whole folder; a folder that is not there holds nothing.

        Workflows in Python that take longer than the patience come into service in `run`.
        """
        await self._look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._look_into_scripts()
        self._is_loaded = True
        logger.info(
            "workflows are loaded",
            in_service=len(self._service.workflows),
            mistakes=len(self.mistakes),
            waiting=sum(entry.waits for entry in self.entries()),
        )

    async def run(self) -> None:
        """Follow the folder for as long as this is not cancelled."""
        # Beside it: code that hangs at its import holds up no other file.
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_scripts())
            async for touched in watching.changes(self._folder):
                await self._look(touched)
                self._looked.set()

    async def refresh(self) -> None:
        """Read what changed."""
        await self._look()
        await self._look_into_scripts()

    async def convert_anew(self) -> None:
        """Read the files in the format of the canvas again, where ComfyUI's nodes are others."""
        async with self._looking:
            now, before = self._conversion.definitions(), self._definitions
            # All classes are compared where nothing waits for it: they are thousands.
            if before is None or (now is not before and await asyncio.to_thread(ne, now, before)):
                await self._look_at(self._snapshot.canvases)
                self._definitions = now

    async def _look(self, touched: Collection[str] = ()) -> None:
        """Read what changed; `touched` files are read again although they look as before."""
        async with self._looking:
            await self._look_at(touched)

    async def _look_at(self, touched: Collection[str]) -> None:
        with contextlib.nullcontext() if self._is_loaded else _without_collection():
            found = await asyncio.to_thread(
                look, self._folder, self._snapshot, self._conversion, touched
            )
        if found is not None:
            self._publish(found)

    async def _follow_scripts(self) -> None:
        while True:
            await self._look_into_scripts()
            await self._looked.wait()
            self._looked.clear()

    async def _look_into_scripts(self) -> None:
        """Let workflows in Python tell what they are; each is in service as soon as it did."""
        async with self._inspecting:
            while self._scripts is not None and (candidate := self._pending()) is not None:
                found = await python_file.inspected(
                    candidate, self._folder, self._scripts, self.presets
                )
                # What reads the folder meanwhile would put back what it began with.
                async with self._looking:
                    self._replace(candidate, found)

    def _pending(self) -> Candidate | None:
        candidates = self._snapshot.candidates.values()
        return next((one for one in candidates if one.is_pending), None)

    def _replace(self, before: Candidate, found: Candidate) -> None:
        name = found.source.name
        # Saved again or deleted meanwhile: what was found is of a file that is no more.
        if self._snapshot.candidates.get(name) is before:
            candidates = {**self._snapshot.candidates, name: found}
            self._publish(replace(self._snapshot, candidates=candidates))

    def _publish(self, snapshot: Snapshot) -> None:
        before, known = self._service, set(self.mistakes)
        presets = (self.presets, self.lora_presets)
        self._snapshot = snapshot
        self._service = settle(snapshot, before, self._is_taken)
        self.version += 1
        for wrong in self.mistakes:
            if wrong not in known:
                logger.warning("a file of WORKFLOW_DIR has a mistake", **vars(wrong))
        _log_warnings(before, self._service)
        if self._is_loaded:
            _log_changes(before, self._service)
            if presets != (self.presets, self.lora_presets):
                names = [*self.presets, *self.lora_presets]
                logger.info("other presets are live", presets=", ".join(sorted(names)))
        metrics.workflows.set(len(self._service.workflows))
        metrics.workflow_files_broken.set(len({wrong.file for wrong in self.mistakes}))


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Let nothing look for garbage meanwhile, nor ever among what is there at the end.

    Hundreds of graphs arrive that all stay: to go through them time and again takes as long as
    to read them, and later holds up requests. What is replaced is freed all the same.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _log_warnings(before: Service, now: Service) -> None:
    for name, entry in now.entries.items():
        told = entry.workflow.warnings if entry.workflow is not None else ()
        old = before.entries.get(name)
        if told and (old is None or old.workflow is None or old.workflow.warnings != told):
            logger.warning("a workflow was converted, with warnings", workflow=name, warnings=told)


def _log_changes(before: Service, now: Service) -> None:
    for name, entry in now.entries.items():
        old = before.entries.get(name)
        if entry.mistakes and (old is None or entry.mistakes != old.mistakes):
            stays = "its last good version stays in service" if entry.workflow else "not in service"
            logger.warning("a workflow has mistakes", workflow=name, state=stays)
        elif entry.mistakes or entry.waits or entry == old:
            continue
        elif entry.workflow is not None:
            logger.info("a workflow is live", workflow=name, version=entry.workflow.version)
    for name in before.entries.keys() - now.entries.keys():
        logger.info("a workflow is gone: its files were deleted", workflow=name)
