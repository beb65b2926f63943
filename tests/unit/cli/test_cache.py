"""What `gateway cache` shows, and what it deletes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli import cache
from gateway.cli.failure import CommandFailed
from gateway.cli.screen import size

NOW = 1_767_330_000.0  # 2026-01-02T05:00:00Z


def file(**fields: Any) -> dict[str, Any]:
    return {
        "name": "a.safetensors",
        "url": "https://host/a.safetensors",
        "size": 3 << 20,
        "last_used": "2026-01-02T03:04:05.678Z",
        "pins": [],
        "links": ["loras/a.safetensors", "loras/b.safetensors"],
        **fields,
    }


def test_a_row() -> None:
    assert cache.row(file(pins=["a", "b"]), size) == (
        "a.safetensors",
        "3.0 MB",
        "2026-01-02 03:04:05",
        "2",
        "loras/a.safetensors, loras/b.safetensors",
        "https://host/a.safetensors",
    )


def test_a_row_of_a_file_that_was_there_before() -> None:
    assert cache.row(file(url=None, links=[]), size)[3:] == ("0", "", "")


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), (" 2W ", 1209600)],
)
def test_ages(age: str, seconds: float) -> None:
    assert cache.seconds(age) == seconds


@pytest.mark.parametrize("age", ["", "d", "-1d", "1.5d", "7 days", "1y", "٣d"])
def test_what_is_no_age(age: str) -> None:
    with pytest.raises(CommandFailed, match="is not an age"):
        cache.seconds(age)


def test_what_no_job_needs_may_go() -> None:
    free, used = file(), file(pins=["a"])
    assert cache.prunable([free, used], None, NOW) == [free]


def test_what_was_used_lately_stays() -> None:
    old, new = file(last_used="2026-01-02T03:00:00Z"), file(last_used="2026-01-02T04:30:00Z")
    assert cache.prunable([old, new], 3600, NOW) == [old]


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KB"),
        (5 << 20, "5.0 MB"),
        (3 << 30, "3.0 GB"),
        (5 << 40, "5120.0 GB"),
    ],
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


def test_files_that_are_whole_and_not(tmp_path: Path) -> None:
    whole, cut = (f"{letter * 32}.gguf" for letter in "ab")
    (tmp_path / whole).write_bytes(b"GGUF and more")
    (tmp_path / cut).write_bytes(b"no such thing")
    checked, problems = cache.verify(tmp_path)
    assert checked == 2
    assert [problem.partition(":")[0] for problem in problems] == [cut]
