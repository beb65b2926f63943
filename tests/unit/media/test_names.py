"""Names of files: what is found, what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.media import names


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    found = {kind: tmp_path / kind for kind in ("input", "output", "temp")}
    for folder in found.values():
        (folder / "sub").mkdir(parents=True)
    for name in ("photo.png", "sub/x.png", "a b [c].png", "x.png[output]"):
        (found["input"] / name).write_bytes(b"x")
    (found["output"] / "made.png").write_bytes(b"x")
    (tmp_path / "secret.txt").write_bytes(b"x")
    return found


@pytest.mark.parametrize(
    "name",
    [
        "photo.png",
        "sub/x.png",
        "./photo.png",
        "sub//x.png",
        "a b [c].png",
        "x.png[output]",
        "made.png [output]",
        "photo.png [input]",
    ],
)
def test_a_file_that_is_there_is_found(folders: dict[str, Path], name: str) -> None:
    assert names.is_plausible(name)
    assert names.find(folders, name)


@pytest.mark.parametrize(
    "name", ["nope.png", "sub", "made.png", "photo.png [output]", "photo.png [temp]", "n" * 300]
)
def test_a_file_that_is_not_there_is_not_found(folders: dict[str, Path], name: str) -> None:
    assert not names.find(folders, name)


def test_a_folder_is_found_when_one_is_asked_for(folders: dict[str, Path]) -> None:
    assert names.find(folders, "sub", is_folder=True)
    assert not names.find(folders, "photo.png", is_folder=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("../secret.txt", "leaves its folder"),
        ("sub/../../secret.txt", "leaves its folder"),
        ("/etc/passwd", "absolute path"),
        ("~/x.png", "absolute path"),
        ("C:\\x.png", "absolute path"),
        ("c:x.png", "absolute path"),
        ("sub\\x.png", "backslash"),
        ("a\0b.png", "control characters"),
        ("a\nb.png", "control characters"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("x" * 5000, "5,000 characters"),
    ],
)
def test_a_wrong_shape_is_named(folders: dict[str, Path], value: str, said: str) -> None:
    assert said in names.refusal(folders, value, lambda _: False).message


@pytest.mark.parametrize("value", ["../secret.txt", "/etc/passwd", "a\0b", "a\\b", "C:x", "", ".."])
def test_a_wrong_shape_is_never_looked_for(value: str) -> None:
    assert not names.is_plausible(value)


def test_a_link_out_of_the_folder_is_refused(folders: dict[str, Path]) -> None:
    (folders["input"] / "link.txt").symlink_to(folders["input"].parent / "secret.txt")
    (folders["input"] / "way").symlink_to(folders["input"].parent)

    for name in ("link.txt", "way/secret.txt"):
        with pytest.raises(errors.InvalidInput, match="leads out of the input folder") as refused:
            names.find(folders, name)
        assert refused.value.hint == "Put the file itself into INPUT_DIR, not a link to it."


def test_a_link_inside_of_the_folder_is_a_file(folders: dict[str, Path]) -> None:
    (folders["input"] / "link.png").symlink_to("photo.png")
    (folders["input"] / "loop.png").symlink_to("loop.png")

    assert names.find(folders, "link.png")
    assert not names.find(folders, "loop.png")


def test_the_input_folder_may_itself_be_a_link(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(folders["input"])

    assert names.find({**folders, "input": tmp_path / "elsewhere"}, "photo.png")


def test_a_missing_name_tells_the_closest_and_the_setting_of_its_folder(
    folders: dict[str, Path],
) -> None:
    refusal = names.refusal(folders, "phoot.png", lambda _: False)

    assert "in the input folder (INPUT_DIR). Closest: photo.png" in refusal.message
    assert str(folders["input"]) not in refusal.message
    assert refusal.details["closest"] == ["photo.png"]
    assert names.refusal(folders, "sub/y.png", lambda _: False).details["closest"] == ["sub/x.png"]
    assert names.refusal(folders, "mad.png [output]", lambda _: False).details["closest"] == [
        "made.png"
    ]


def test_hidden_names_are_not_told(folders: dict[str, Path]) -> None:
    assert names.refusal(folders, "phoot.png", lambda _: True).details["closest"] is None


@given(st.text(max_size=60))
def test_no_plausible_name_leads_out(name: str) -> None:
    if names.is_plausible(name):
        try:
            found = names.inside(Path("/tmp"), name)
        except ValueError:
            return
        assert found is None or found.is_relative_to(Path("/tmp").resolve())
