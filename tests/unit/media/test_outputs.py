"""Outputs, found where ComfyUI says, described, and removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gateway import errors
from gateway.media import outputs


@pytest.fixture
def folders(tmp_path: Path) -> outputs.Folders:
    found = outputs.Folders(*(tmp_path / name for name in ("output", "input", "base/temp")))
    for folder in (found.output, found.input, found.temp):
        (folder / "a" / "b").mkdir(parents=True)
    Image.new("RGB", (37, 21)).save(found.output / "a" / "b" / "x.png")
    (found.temp / "t.png").write_bytes(b"t")
    (tmp_path / "secret").write_bytes(b"s")
    return found


def test_an_output_is_found_in_its_folder(folders: outputs.Folders) -> None:
    expected = folders.output.resolve() / "a" / "b" / "x.png"

    assert outputs.locate(folders, "x.png", "a/b", "output") == expected
    assert outputs.locate(folders, "t.png", "", "temp") == folders.temp.resolve() / "t.png"


@pytest.mark.parametrize(
    ("filename", "subfolder", "kind"),
    [
        ("../secret", "", "output"),
        ("secret", "..", "output"),
        ("secret", "a/../..", "output"),
        ("/etc/passwd", "", "output"),
        ("passwd", "/etc", "output"),
        ("x\0.png", "", "output"),
        ("", "", "output"),
        (".", "", "output"),
        ("b", "a", "output"),
        ("x.png", "", "elsewhere"),
        ("n" * 5000, "", "output"),
    ],
)
def test_what_leaves_the_folder_or_is_no_file_is_missing(
    folders: outputs.Folders, filename: str, subfolder: str, kind: str
) -> None:
    with pytest.raises(errors.OutputMissing):
        outputs.locate(folders, filename, subfolder, kind)


def test_a_link_out_of_the_folder_is_missing(folders: outputs.Folders) -> None:
    (folders.output / "link").symlink_to(folders.output.parent / "secret")

    with pytest.raises(errors.OutputMissing, match="leads out of"):
        outputs.locate(folders, "link", "", "output")


def test_a_missing_output_names_the_folder_and_the_flag(folders: outputs.Folders) -> None:
    with pytest.raises(errors.OutputMissing) as missing:
        outputs.locate(folders, "y.png", "", "output")
    with pytest.raises(errors.OutputMissing) as missing_preview:
        outputs.locate(folders, "y.png", "", "temp")

    assert str(folders.output) in missing.value.message
    assert f"--output-directory {folders.output}" in str(missing.value.hint)
    assert f"--temp-directory {folders.temp.parent}." in str(missing_preview.value.hint)


async def test_a_picture_is_described_from_its_header(folders: outputs.Folders) -> None:
    path = folders.output / "a" / "b" / "x.png"

    described = await outputs.describe(path)

    assert described == outputs.Described("image/png", path.stat().st_size, 37, 21)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.mp4", b"\0\0\0\x14ftypisom\0\0\2\0mp41", "video/mp4"),
        ("x.txt", b"hello", "text/plain"),
        ("x.png", b"fLaC\0\0\0\x22", "audio/flac"),
        ("x.latent", b"\x00\x01", "application/octet-stream"),
        ("x.png", b"", "image/png"),
    ],
)
async def test_other_files_have_a_type_and_no_size_in_pixels(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)

    described = await outputs.describe(tmp_path / name)

    assert described == outputs.Described(expected, len(content), None, None)


async def test_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.OutputMissing):
        await outputs.describe(tmp_path / "gone.png")


def test_removing_takes_the_folders_that_are_empty_then(folders: outputs.Folders) -> None:
    path = folders.output / "a" / "b" / "x.png"
    (folders.output / "kept").write_bytes(b"k")

    outputs.remove([path, path, folders.temp / "t.png"], folders.roots)

    assert sorted(entry.name for entry in folders.output.iterdir()) == ["kept"]
    assert sorted(entry.name for entry in folders.temp.iterdir()) == ["a"]


def test_removing_never_takes_a_root_or_what_lies_elsewhere(folders: outputs.Folders) -> None:
    secret = folders.output.parent / "secret"
    (folders.temp / "t.png").unlink()
    (folders.temp / "a" / "b").rmdir()
    (folders.temp / "a").rmdir()
    (folders.temp / "only.png").write_bytes(b"o")

    outputs.remove(
        [secret, folders.output / ".." / "secret", folders.temp / "only.png"], folders.roots
    )

    assert secret.exists()
    assert list(folders.temp.iterdir()) == []


def test_a_folder_with_other_files_stays(folders: outputs.Folders) -> None:
    other = folders.output / "a" / "other.png"
    other.write_bytes(b"o")

    outputs.remove([folders.output / "a" / "b" / "x.png"], folders.roots)

    assert other.exists()
    assert not (folders.output / "a" / "b").exists()


@pytest.mark.parametrize("prefix", ["7_picture", "7_a/b/picture"])
def test_what_comfyui_numbered_under_a_prefix_is_found(tmp_path: Path, prefix: str) -> None:
    stem = tmp_path / prefix
    stem.parent.mkdir(parents=True, exist_ok=True)
    own = [
        stem.with_name(f"{stem.name}_00001_.png"),
        stem.with_name(f"{stem.name}_00002.mp4"),
        stem.with_name(f"{stem.name}_100000-audio.mp4"),
    ]
    others = [
        stem.with_name(f"{stem.name}_2_00001_.png"),
        stem.with_name(f"1{stem.name}_00001_.png"),
        stem.with_name(f"{stem.name}.png"),
    ]
    for path in (*own, *others):
        path.touch()

    assert sorted(outputs.saved_under(tmp_path, prefix)) == sorted(own)


def test_nothing_is_found_under_a_prefix_whose_folder_is_not_there(tmp_path: Path) -> None:
    assert outputs.saved_under(tmp_path, "nowhere/picture") == []
