"""What was installed is remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import errors
from gateway.manifest.lock import Environment, Lock, LockFile, NodeRecord


def environment(marker: str) -> Environment:
    return Environment(
        executable="/env/bin/python",
        identity="python 1 2",
        version="3.11.0",
        prefix="/env",
        packages=["/env/packages"],
        has_pip=True,
        stamp="/env/packages/stamp",
        id=marker,
    )


def lock() -> Lock:
    return Lock(
        environment=environment("a"),
        apt={"ffmpeg": "7"},
        pip={"x==1": "1", "https://h/x.whl": None},
        custom_nodes={
            "n": NodeRecord(
                source="u", folders=["/n"], resolved="c", requirements="h", install_script="s"
            )
        },
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = LockFile(tmp_path / "state" / "lock.json")
    file.write(lock())
    assert file.read() == lock()
    assert os.listdir(tmp_path / "state") == ["lock.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"\xff", b'{"pip": 1}', b'{"version": 2}', b'{"version": "x"}'],
)
def test_a_broken_one_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock.json").write_bytes(content)
    assert LockFile(tmp_path / "lock.json").read() == Lock()


def test_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.InstallFailed, match="cannot be written"):
        LockFile(tmp_path / "file" / "lock.json").write(Lock())


def test_the_same_environment_keeps_its_packages() -> None:
    found = lock()
    found.use(environment("a"))
    assert found == lock()


def test_another_environment_has_none_of_them() -> None:
    found = lock()
    found.use(environment("b"))
    assert found.pip == {}
    assert found.custom_nodes["n"].requirements is None
    assert found.custom_nodes["n"].install_script is None
    assert found.custom_nodes["n"].resolved == "c"
    assert found.apt == {"ffmpeg": "7"}
