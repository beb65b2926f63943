"""What other processes said they use, and until when that counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.models.peers import InUse, Peers
from gateway.storage import author as authors

OTHER_HOST = {"host": "another", "pid": 1, "started": "1"}


def say(folder: Path, name: str, who: dict[str, object], age: float = 0) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**who, "pinned": [name], "recent": [f"{name}-recent"]}))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def test_each_hears_the_others_and_not_itself(tmp_path: Path) -> None:
    one, other = Peers(tmp_path), Peers(tmp_path)
    one.write({"a", "b"}, {"c"})
    other.write(set(), set())

    assert one.read() == InUse(is_shared=True)
    assert other.read() == InUse(frozenset("ab"), frozenset("c"), is_shared=True)
    one.close()
    assert other.read() == InUse()


def test_nobody_there(tmp_path: Path) -> None:
    peers = Peers(tmp_path / "missing")

    assert peers.read() == InUse()
    peers.close()


@pytest.mark.parametrize(("age", "counts"), [(0, True), (60, True), (200, False)])
def test_another_host_counts_while_it_touches_its_file(
    tmp_path: Path, age: float, counts: bool
) -> None:
    peers = Peers(tmp_path)
    peers.write(set(), set())
    path = say(tmp_path, "x", OTHER_HOST, age)

    assert ("x" in peers.read().pinned) is counts
    assert path.exists() is counts


def test_a_dead_process_of_this_host_counts_no_more(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    path = say(tmp_path, "x", {**vars(authors.own()), "pid": child.pid})
    peers = Peers(tmp_path)
    peers.write(set(), set())

    assert peers.read() == InUse()
    assert not path.exists()


def test_what_cannot_be_read_counts_for_nothing(tmp_path: Path) -> None:
    for name, text in {"a": "", "b": "[]", "c": "{}", "d": '{"host": 1}'}.items():
        (tmp_path / f"{name}.json").write_text(text)

    assert Peers(tmp_path).read() == InUse()


def test_saying_the_same_again_is_a_touch(tmp_path: Path) -> None:
    peers = Peers(tmp_path)
    peers.write({"a"}, set())
    [path] = tmp_path.iterdir()
    inode = path.stat().st_ino
    os.utime(path, (1, 1))
    peers.write({"a"}, set())

    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1
    peers.write({"b"}, set())
    assert json.loads(path.read_text())["pinned"] == ["b"]
