"""Folders of numbered files, for the nodes that load a whole folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path, PurePosixPath

from gateway.media.ledger import Ledger


class FolderMaker:
    """Makes folders out of files of the input folder; belongs in a thread."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger

    def make(self, name: str, files: list[str]) -> str:
        """Return the folder's name; the files stand in it in their order. Raises OSError."""
        if self._ledger.find(name) is not None:
            return name
        beside = self._folder / f".fetch-{uuid.uuid4().hex}.part"
        beside.mkdir(parents=True)
        try:
            for index, file in enumerate(files):
                suffix = PurePosixPath(file).suffix
                _place(self._folder / file, beside / f"{index:06d}{suffix}")
            self._ledger.enter(name)
            # Somebody else may have made the same folder meanwhile.
            with contextlib.suppress(FileExistsError):
                beside.rename(self._folder / name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return name


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # No hard links on this file system, or none to this file.
        shutil.copyfile(source, target)
