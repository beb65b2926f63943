"""What a picture tells of the job that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.cli.failure import CommandFailed
from gateway.cli.made_by import read
from gateway.graph import UNIQUE_INPUT, unmarked
from tests import embedding

UUID = "0f0e0d0c-0000-4000-8000-000000000001"


def saving(prefix: str, **inputs: Any) -> dict[str, Any]:
    return {"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix, **inputs}}}


def picture(file: Path, prompt: str | None) -> Path:
    """Write a picture that holds a text where ComfyUI puts its graph."""
    image = Image.new("RGB", (4, 4))
    if file.suffix == ".png":
        told = PngInfo()
        if prompt is not None:
            told.add_text("prompt", prompt)
        image.save(file, pnginfo=told)
        return file
    exif = Image.Exif()
    if prompt is not None:
        exif[0x0110] = f"prompt:{prompt}"
    image.save(file, exif=exif)
    return file


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
def test_the_workflow_that_it_holds(tmp_path: Path, ending: str) -> None:
    # ComfyUI adds what it knows of a node, NaN among it.
    ran = {**saving(f"{UUID}_s"), "1": {"class_type": "A", "inputs": {}, "is_changed": [0.5]}}
    text = json.dumps(ran).replace("0.5", "NaN")
    found = read(picture(tmp_path / f"a.{ending}", text))
    assert found.job_id is None
    assert found.workflow == {**saving("s"), "1": {"class_type": "A", "inputs": {}}}


@pytest.mark.parametrize("name", ["apng", "mp4", "mp4_comment", "webm", "flac", "mp3", "opus"])
def test_films_and_sounds_hold_it_too(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(embedding.FORMATS[name]({"prompt": json.dumps(saving("s"))}))
    assert read(tmp_path / "a").workflow == saving("s")


def test_a_canvas_alone_is_no_graph_that_ran(tmp_path: Path) -> None:
    canvas = {"nodes": [{"id": 1, "type": "SaveImage"}], "links": []}
    for key in ("prompt", "workflow"):
        (tmp_path / "a.mp4").write_bytes(embedding.mp4({key: json.dumps(canvas)}))
        with pytest.raises(CommandFailed, match="does not tell what made it"):
            read(tmp_path / "a.mp4")


def test_a_sidecar_names_the_job_and_with_it_its_prefix(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png", json.dumps(saving("my_job_s")))
    (tmp_path / "a.png.json").write_text(json.dumps({"job_id": "my_job"}))
    found = read(file)
    assert (found.job_id, found.workflow) == ("my_job", saving("s"))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"1": 2}', '{"1": {}}'])
def test_a_picture_that_tells_nothing(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "a.png.json").write_text("[]")
    with pytest.raises(CommandFailed, match="does not tell what made it"):
        read(picture(tmp_path / "a.png", text))


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video either")
    with pytest.raises(CommandFailed, match="does not tell what made it"):
        read(tmp_path / "a.mp4")
    with pytest.raises(CommandFailed, match="there is no such file"):
        read(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("prefix", "job_id", "before"),
    [
        (f"{UUID}_a/b", None, "a/b"),
        (UUID, None, "ComfyUI"),
        ("mine_s", "mine", "s"),
        ("mine", "mine", "ComfyUI"),
        ("mine_s", None, "mine_s"),
        ("mine_s", "min", "mine_s"),
        (f"{UUID}_s", "mine", "s"),
    ],
)
def test_the_prefix_is_as_it_was_before_the_job(
    prefix: str, job_id: str | None, before: str
) -> None:
    ran = saving(prefix, **{UNIQUE_INPUT: "mark"})
    assert unmarked(ran, job_id) == saving(before)
