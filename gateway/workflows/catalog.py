"""The folder of named workflows, as it is on the disk now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import errors
from gateway.workflows.loras import Lora
from gateway.workflows.presets import BUILT_IN, Preset
from gateway.workflows.workflow import Workflow


@dataclass(frozen=True, order=True)
class Mistake:
    """What is wrong in a file of the folder; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str


@dataclass(frozen=True)
class Entry:
    """A name in the folder: the version in service, and what is wrong with a newer one."""

    name: str
    workflow: Workflow | None
    mistakes: tuple[Mistake, ...] = ()


class Catalog:
    """The workflows of a folder; a file that breaks leaves its last good version in service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Grows with every change: what is derived from the folder is kept by it.
        self.version = 0
        self.presets: Mapping[str, Preset] = BUILT_IN
        self.lora_presets: Mapping[str, tuple[Lora, ...]] = {}

    async def load(self) -> None:
        """Read the whole folder; a folder that is not there holds nothing."""

    async def run(self) -> None:
        """Follow the folder for as long as this is not cancelled."""
        raise NotImplementedError

    def entries(self) -> Sequence[Entry]:
        """Return every name, sorted."""
        return []

    def get(self, name: str) -> Workflow:
        """Return the version in service. Raises WorkflowNotFound, WorkflowBroken."""
        raise errors.WorkflowNotFound

    def by_route(self, path: str) -> Workflow | None:
        """Return the workflow whose manifest names this address as its route."""
        return None
