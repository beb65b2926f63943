"""One file on its way into a repository; all of it runs in threads."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.storage.hf_address import File
from gateway.storage.hf_library import Stopped, library, stoppable


class _Source(io.BufferedReader):
    """A file that stops being readable when its upload is given up."""

    is_stopped = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.is_stopped:
            raise Stopped
        return super().read(size)


class Upload:
    """Sends the content first, then commits it; `stop` whatever comes of it."""

    def __init__(self, endpoint: str, token: str, file: File, source: Path) -> None:
        self._endpoint = endpoint
        self._token = token
        self._file = file
        self._path = source
        self._source: _Source | None = None
        self._is_stopped = False
        self._at_work = threading.Lock()
        self._operations: list[Any] = []

    def send(self) -> None:
        """Bring the content to the hub, where it is seen by nobody yet; small files wait."""
        with self._working():
            self._source = _Source(io.FileIO(self._path))
            self._source.is_stopped = self._is_stopped
            addition = library().CommitOperationAdd(self._file.path, self._source)
            self._operations.append(addition)
            # What the repository's .gitignore names would be left out without a word.
            self._api().preupload_lfs_files(
                additions=[addition], gitignore_content="", free_memory=False, **self._where()
            )

    def commit(self) -> None:
        """Make the content part of the repository."""
        message = f"Upload {self._file.filename}"
        with self._working():
            self._api().create_commit(
                operations=self._operations, commit_message=message, **self._where()
            )

    def stop(self) -> None:
        """Let nothing more be read or asked, and let go of the file once nobody reads it."""
        self._is_stopped = True
        if self._source is not None:
            self._source.is_stopped = True
        self._close_when_idle()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        try:
            with self._at_work, stoppable(lambda: self._is_stopped):
                yield
        finally:
            if self._is_stopped:
                self._close_when_idle()

    def _close_when_idle(self) -> None:
        # Whoever holds the lock looks again once it is free: one of the two closes.
        if self._at_work.acquire(blocking=False):
            try:
                if self._source is not None:
                    self._source.close()
            finally:
                self._at_work.release()

    def _api(self) -> Any:
        return library().HfApi(endpoint=self._endpoint, token=self._token)

    def _where(self) -> dict[str, str]:
        repo = self._file.repo
        return {"repo_id": repo.name, "repo_type": repo.kind, "revision": repo.revision}
