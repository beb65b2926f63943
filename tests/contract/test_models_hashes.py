"""Checksums of the models that jobs use: from the record, from memory, or read in their wake."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.models import hashes as module
from gateway.models import names, record
from gateway.models.checksums import Checksums
from gateway.models.hashes import Hashes
from gateway.models.layout import Layout
from gateway.models.links import Links
from gateway.models.record import Record
from tests.waiting import wait_until

WEIGHTS = b"weights" * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
URL = "https://host/model.safetensors"
MODEL = ("vae", "sub/a.safetensors")


class Stand:
    """Folders of models, and what knows their checksums."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        self.cache = folder / "cache"
        self.elsewhere = folder / "elsewhere"
        self.kept = folder / "model-hashes.json"
        self.is_busy = False
        self.asked: list[str] = []
        self.cache.mkdir()

    def hashes(self, *, is_reading: bool = True) -> Hashes:
        searched = {"vae": (self.models / "vae",)}
        links = Links(self.models, self.cache, self.cache / "links", searched)
        return Hashes(
            links,
            Layout(self.cache),
            Checksums(self.kept),
            ask_paths=self.paths,
            is_busy=lambda: self.is_busy,
            is_reading=is_reading,
        )

    async def paths(self, folder: str) -> Sequence[Path]:
        self.asked.append(folder)
        return [self.elsewhere / folder]

    def put(self, root: Path, model: tuple[str, str] = MODEL, content: bytes = WEIGHTS) -> Path:
        path = root / model[0] / model[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def fetched(self, sha256: str | None, *, size: int = len(WEIGHTS)) -> Path:
        """Put a file into the cache as a fetch does, and a link where ComfyUI looks first."""
        stem = names.stem(URL)
        path = self.cache / f"{stem}.safetensors"
        path.write_bytes(WEIGHTS)
        note = Record(name=path.name, url=URL, size=size, sha256=sha256)
        record.write(Layout(self.cache).records, stem, note)
        link = self.cache / "links" / "vae" / MODEL[1]
        link.parent.mkdir(parents=True)
        link.symlink_to(path)
        return path


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


@contextlib.asynccontextmanager
async def running(found: Hashes) -> AsyncIterator[Hashes]:
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until_known(found: Hashes, model: tuple[str, str] = MODEL) -> str | None:
    await wait_until(lambda: found.known(*model), description="the checksum is known")
    return found.known(*model)


async def test_a_file_is_read_in_the_wake_of_a_job_and_once(stand: Stand) -> None:
    path = stand.put(stand.models)
    async with running(stand.hashes()) as found:
        assert found.known(*MODEL) is None
        found.want([MODEL])
        assert await until_known(found) == SHA256
    # Another start knows it, and reads nothing.
    assert stand.hashes(is_reading=False).known(*MODEL) == SHA256
    os.utime(path, ns=(1, 1))
    assert stand.hashes(is_reading=False).known(*MODEL) is None


async def test_what_was_checked_when_it_was_fetched_is_known_at_once(stand: Stand) -> None:
    stand.fetched("ab" * 32)
    assert stand.hashes(is_reading=False).known(*MODEL) == "ab" * 32
    assert not stand.kept.exists()


@pytest.mark.parametrize(("sha256", "size"), [(None, len(WEIGHTS)), ("ab" * 32, 5)])
async def test_what_was_fetched_unchecked_is_read(
    stand: Stand, sha256: str | None, size: int
) -> None:
    stand.fetched(sha256, size=size)
    async with running(stand.hashes()) as found:
        assert found.known(*MODEL) is None
        found.want([MODEL])
        assert await until_known(found) == SHA256


async def test_a_folder_that_only_comfyui_knows(stand: Stand) -> None:
    model = ("animations", "b.safetensors")
    stand.put(stand.elsewhere, model)
    async with running(stand.hashes()) as found:
        found.want([model])
        assert await until_known(found, model) == SHA256
    assert stand.asked == ["animations"]


async def test_what_has_no_checksum_is_passed_over(stand: Stand) -> None:
    (stand.models / "vae" / "folder").mkdir(parents=True)
    os.mkfifo(stand.models / "vae" / "pipe")
    stand.put(stand.models)
    stand.put(stand.models, ("vae", "secret"))
    (stand.models / "vae" / "secret").chmod(0)
    odd = [
        *(("vae", name) for name in ("folder", "pipe", "gone", "../secret", "a\0b", "x" * 300)),
        ("..", "vae/folder"),
    ]
    async with running(stand.hashes()) as found:
        found.want([*odd, MODEL])
        assert await until_known(found) == SHA256
        assert [found.known(*model) for model in odd] == [None] * len(odd)


async def test_a_name_leads_nowhere_but_into_its_folder(stand: Stand, tmp_path: Path) -> None:
    foreign = tmp_path / "secret"
    foreign.write_bytes(WEIGHTS)
    stand.put(stand.elsewhere, ("custom", "a.bin"))
    async with running(stand.hashes()) as found:
        found.want([("custom", str(foreign)), ("custom", "../../secret"), ("custom", "a.bin")])
        assert await until_known(found, ("custom", "a.bin")) == SHA256
        assert found.known("custom", str(foreign)) is None
        assert found.known("custom", "../../secret") is None


async def test_without_leave_nothing_is_read(stand: Stand) -> None:
    stand.put(stand.models)
    found = stand.hashes(is_reading=False)
    found.want([MODEL])
    assert found._waiting.empty()


async def test_a_file_that_changes_while_it_is_read(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1000)
    path, other = stand.put(stand.models), ("vae", "other")
    stand.put(stand.models, other)
    stand.is_busy = True
    changes = threading.Event()

    class Resting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if not changes.is_set():
                path.write_bytes(WEIGHTS + b"more")
                changes.set()
            return self.is_set()

    found = stand.hashes()
    found._stop = Resting()
    async with running(found):
        found.want([MODEL, other])
        assert await until_known(found, other) == SHA256
        assert found.known(*MODEL) is None
        found.want([MODEL])
        assert await until_known(found) == hashlib.sha256(WEIGHTS + b"more").hexdigest()


async def test_a_stop_is_heard_in_the_middle_of_a_file(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 16)
    monkeypatch.setattr(module, "_REST", 1_000_000_000)
    stand.put(stand.models)
    stand.is_busy = True
    found = stand.hashes()
    async with running(found):
        found.want([MODEL])
        await wait_until(found._waiting.empty, description="it is being read")
    readers = [one for one in threading.enumerate() if one.name.startswith("hashes")]
    await wait_until(
        lambda: not any(one.is_alive() for one in readers), description="nothing reads any more"
    )
    assert not stand.kept.exists()
