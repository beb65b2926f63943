"""What stands beside an output: written whole, and over nothing but its like."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.media import sidecar_files

CONTENT: dict[str, Any] = {
    "job_id": "j",
    "node_id": "9",
    "index": 0,
    "prompt": "a fox",
    "gateway_version": "1",
    "comfyui_version": None,
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_has_the_name_of_its_file_and_nothing_is_left_beside(output: Path) -> None:
    path = sidecar_files.write(output, CONTENT)
    assert path == output.with_name("a.png.json")
    assert json.loads(path.read_bytes()) == CONTENT
    assert names(output.parent) == ["a.png", "a.png.json"]


def test_one_of_ours_is_written_anew(output: Path) -> None:
    sidecar_files.write(output, CONTENT)
    path = sidecar_files.write(output, {**CONTENT, "prompt": "a cat"})
    assert json.loads(path.read_bytes())["prompt"] == "a cat"


@pytest.mark.parametrize("foreign", [b"", b"{}", b"[1]", b'{"job_id": "j"}', b"{", b"\xff" * 9])
def test_what_is_not_ours_stays(output: Path, foreign: bytes) -> None:
    path = output.with_name("a.png.json")
    path.write_bytes(foreign)
    with pytest.raises(FileExistsError, match="another file has this name"):
        sidecar_files.write(output, CONTENT)
    assert path.read_bytes() == foreign
    assert names(output.parent) == ["a.png", "a.png.json"]


def test_links_pipes_and_folders_are_not_ours(output: Path) -> None:
    path = output.with_name("a.png.json")
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("nowhere")):
        make()
        with pytest.raises(FileExistsError):
            sidecar_files.write(output, CONTENT)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_large_file_is_not_ours(output: Path) -> None:
    path = output.with_name("a.png.json")
    path.write_bytes(json.dumps(CONTENT).encode().ljust(2 * 1024 * 1024))
    with pytest.raises(FileExistsError):
        sidecar_files.write(output, CONTENT)


def test_a_folder_that_is_gone(output: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sidecar_files.write(output.parent / "gone" / "a.png", CONTENT)


def test_a_name_that_is_too_long_leaves_nothing(output: Path) -> None:
    longest = output.with_name("n" * 252)
    with pytest.raises(OSError, match="too long"):
        sidecar_files.write(longest, CONTENT)
    assert names(output.parent) == ["a.png"]


@pytest.mark.parametrize("value", ["half \ud83d", 2**64 + 1])
def test_what_json_hardly_holds(output: Path, value: Any) -> None:
    path = sidecar_files.write(output, {**CONTENT, "prompt": value})
    assert json.loads(path.read_bytes())["prompt"] == value
    # It is known again as ours.
    assert sidecar_files.write(output, CONTENT) == path
