"""The command line of the embedded engine."""

from __future__ import annotations

from pathlib import Path

from gateway.embedded.faults import Faults
from gateway.embedded.folders import Folders
from gateway.embedded.options import parse


def test_nothing_goes_wrong_by_default() -> None:
    options = parse([])

    assert options.faults == Faults()
    assert (options.listen, options.port, options.previews) == (("127.0.0.1",), 8188, True)


def test_listen_without_a_value_means_everywhere() -> None:
    assert parse(["--listen", "--port", "1"]).listen == ("0.0.0.0", "::")


def test_what_is_unknown_is_ignored() -> None:
    options = parse(["--cpu", "--port", "5", "--reserve-vram", "2.5"])

    assert options.ignored == ("--cpu", "--reserve-vram", "2.5")


def test_a_temp_folder_is_never_taken_from_the_working_directory(tmp_path: Path) -> None:
    assert Path.cwd() not in Folders(parse([])).temp.parents
    assert Folders(parse(["--temp-directory", str(tmp_path)])).temp == tmp_path / "temp"
    assert Folders(parse(["--base-directory", str(tmp_path)])).temp == tmp_path / "temp"


def test_models_can_lie_apart_from_the_rest(tmp_path: Path) -> None:
    flags = [
        "--base-directory",
        str(tmp_path / "base"),
        "--models-directory",
        str(tmp_path / "nas"),
    ]
    folders = Folders(parse(flags))

    assert folders.models["loras"][0] == str(tmp_path / "nas/loras")
    assert folders.models["custom_nodes"] == [str(tmp_path / "base/custom_nodes")]


def test_no_name_leads_out_of_a_models_folder(tmp_path: Path) -> None:
    folders = Folders(parse(["--base-directory", str(tmp_path)]))
    (tmp_path / "secret.safetensors").touch()

    assert folders.model_path("checkpoints", "../../secret.safetensors") is None
    assert folders.model_path("nope", "x") is None
