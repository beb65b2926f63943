"""Checksums of files, remembered over restarts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.models import checksums
from gateway.models.checksums import Checksums, Seen

SEEN = Seen(10, 1_700_000_000_000_000_000)


def test_a_checksum_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    Checksums(path).learn("/m/a", SEEN, "ab")
    assert Checksums(path).of("/m/a", SEEN) == "ab"
    assert [one.name for one in tmp_path.iterdir()] == ["known.json"]


@pytest.mark.parametrize("seen", [Seen(11, SEEN.mtime_ns), Seen(10, SEEN.mtime_ns + 1)])
def test_a_file_that_looks_different_is_another(tmp_path: Path, seen: Seen) -> None:
    known = Checksums(tmp_path / "known.json")
    known.learn("/m/a", SEEN, "ab")
    assert known.of("/m/a", seen) is None
    assert known.of("/m/b", SEEN) is None


def test_what_stands_elsewhere_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    known = Checksums(path)
    known.learn("/m/a", SEEN, "ab", is_kept=False)
    assert known.of("/m/a", SEEN) == "ab"
    assert not path.exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[[1]]", b'[["/m/a", 10, "x", "ab"]]', b"\xff"])
def test_a_damaged_file_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "known.json"
    path.write_bytes(damage)
    known = Checksums(path)
    assert known.of("/m/a", SEEN) is None
    known.learn("/m/a", SEEN, "ab")
    assert Checksums(path).of("/m/a", SEEN) == "ab"


def test_the_longest_unused_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "MOST", 2)
    known = Checksums(tmp_path / "known.json")
    for name in ("a", "b"):
        known.learn(name, SEEN, name)
    assert known.of("a", SEEN) == "a"
    known.learn("c", SEEN, "c")
    assert [known.of(name, SEEN) for name in ("a", "b", "c")] == ["a", None, "c"]


def test_a_disk_that_takes_nothing_costs_only_the_memory(tmp_path: Path) -> None:
    known = Checksums(tmp_path / "gone" / "known.json")
    known.learn("/m/a", SEEN, "ab")
    assert known.of("/m/a", SEEN) == "ab"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path, name = tmp_path / "known.json", os.fsdecode(b"/m/\xff")
    Checksums(path).learn(name, SEEN, "ab")
    assert Checksums(path).of(name, SEEN) == "ab"
