"""Files of this machine: only below the folders that the operator names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import errors
from gateway.storage import file as module
from gateway.storage.failures import MISMATCH, TransferFailed
from gateway.storage.file import FileProvider
from gateway.storage.provider import Span


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "root"
    found.mkdir()
    (found / "a.png").write_bytes(b"0123456789")
    return found


@pytest.fixture
def provider(root: Path) -> FileProvider:
    return FileProvider((root,))


def url(path: Path) -> str:
    return f"file://{path}"


async def test_what_the_disk_tells(provider: FileProvider, root: Path) -> None:
    found = await provider.stat(url(root / "a.png"), None)
    known = (root / "a.png").stat()

    assert found.size == 10
    assert found.version == f"{known.st_mtime_ns}-10-{known.st_ino}"
    assert found.content_type == "image/png"
    assert found.filename == "a.png"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file:///etc/passwd", "no folder"),
        ("file://{root}/../x", r"\.\."),
        ("file://{root}/%2e%2e/x", r"\.\."),
        ("file://{root}/", "trailing"),
        ("file://{root}/a%00", "NUL"),
        ("file://{root}-beside/x", "no folder"),
        ("file://host{root}/a.png", "absolute path"),
        ("file:a.png", "absolute path"),
        ("file://{root}/a.png?x", "unescaped"),
        ("file://{root}/%ff", "not a file URL"),
        ("file://[", "not a file URL"),
    ],
)
def test_a_url_that_names_nothing_there(
    provider: FileProvider, root: Path, text: str, told: str
) -> None:
    with pytest.raises(errors.InvalidInput, match=told) as found:
        provider.check(text.format(root=root), "prompt.1")

    assert found.value.location == "prompt.1"
    assert found.value.hint


def test_without_folders_nothing_is_allowed(root: Path) -> None:
    with pytest.raises(errors.InvalidInput) as found:
        FileProvider(()).check(url(root / "a.png"))

    assert "ALLOWED_FILE_ROOTS" in (found.value.hint or "")
    assert "ALLOWED_FILE_ROOTS" in (FileProvider(()).is_configured("file:///x", None) or "")


async def test_a_link_that_leads_out_is_refused(
    provider: FileProvider, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    for name in ("link", "folder/secret"):
        provider.check(url(root / name))
        with pytest.raises(TransferFailed, match="no folder"):
            await provider.stat(url(root / name), None)
    for name in ("link", "folder/new"):
        with pytest.raises(TransferFailed):
            await provider.write(url(root / name), None, root / "a.png", "image/png")

    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_a_link_within_is_followed(provider: FileProvider, root: Path) -> None:
    (root / "link").symlink_to(root / "a.png")

    assert (await provider.stat(url(root / "link"), None)).size == 10


async def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    provider = FileProvider((linked,))
    provider.check(url(linked / "a.png"))

    assert (await provider.stat(url(linked / "a.png"), None)).size == 10


async def test_what_is_no_file_is_refused(provider: FileProvider, root: Path) -> None:
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(TransferFailed, match="not a file"):
            await provider.stat(url(root / name), None)
    for name in ("folder", "pipe"):
        with pytest.raises(TransferFailed, match="not a file"):
            await provider.write(url(root / name), None, root / "a.png", "image/png")


async def test_a_file_that_shrinks_is_a_mismatch(provider: FileProvider, root: Path) -> None:
    async with provider.read(url(root / "a.png"), None, Span(2)) as reply:
        os.truncate(root / "a.png", 4)
        with pytest.raises(TransferFailed) as found:
            async for _ in reply.chunks():
                pass

    assert found.value.verdict == MISMATCH


@pytest.mark.parametrize("tail", ["a" * 300, "loop", "loop/x", "a/" * 3000 + "x"])
async def test_a_path_that_leads_nowhere_is_told(
    provider: FileProvider, root: Path, tail: str
) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(TransferFailed, match="no such file"):
        await provider.stat(f"{url(root)}/{tail}", None)


async def test_a_write_makes_folders_and_leaves_nothing_beside(
    provider: FileProvider, root: Path
) -> None:
    target = root / "new" / "folder" / "b.png"
    await provider.write(url(target), None, root / "a.png", "image/png")

    assert target.read_bytes() == b"0123456789"
    assert [path.name for path in target.parent.iterdir()] == ["b.png"]


def test_every_failure_that_is_told_has_a_verdict() -> None:
    told = {FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError}

    assert told == module.FOREIGN.keys()
