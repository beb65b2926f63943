"""Where outputs are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli.results import conversion, is_folder, places


def outputs(*names: str) -> list[dict[str, Any]]:
    return [{"index": index, "filename": name} for index, name in enumerate(names)]


def test_a_folder_is_there_ends_as_one_or_has_no_ending(tmp_path: Path) -> None:
    (tmp_path / "out.d").mkdir()
    folders = (".", "out", "a.b/", str(tmp_path / "out.d"))
    assert [is_folder(one) for one in folders] == [True] * len(folders)
    assert [is_folder(one) for one in ("a.png", "out/a.png")] == [False, False]


def test_one_output_has_the_name_and_several_are_numbered() -> None:
    assert places("out/a.png", outputs("x.png")) == [Path("out/a.png")]
    assert places("out/a.png", outputs("x.png", "y.mp4")) == [
        Path("out/a-1.png"),
        Path("out/a-2.png"),
    ]
    assert places("out", outputs("x.png", "b/x.png")) == [Path("out/x.png"), Path("out/1-x.png")]


@pytest.mark.parametrize(
    ("output", "form"),
    [
        ("a.jpg", "jpeg"),
        ("a.WEBP", "webp"),
        ("a.avif", "avif"),
        ("a.png", None),
        ("a.mp4", None),
        ("out", None),
    ],
)
def test_the_ending_of_a_file_is_its_format(output: str, form: str | None) -> None:
    assert conversion(output) == (form and {"format": form})
