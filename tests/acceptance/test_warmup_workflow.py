"""WARMUP_WORKFLOW: a named workflow runs before the first ready."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance import faulty
from tests.acceptance.faulty import Place

GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "somebody.png"}},
    "2": {
        "class_type": "ImageScale",
        "inputs": {
            "image": ["1", 0],
            "upscale_method": "lanczos",
            "width": 64,
            "height": 64,
            "crop": "center",
        },
    },
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "warm"}},
}
MANIFEST = """
parameters:
  picture: {type: image, required: true, bind: 1.inputs.image}
  width: {type: integer, required: true, bind: 2.inputs.width}
example: {width: 32}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one workflow that cannot run without being given something."""
    found = tmp_path / "workflows"
    found.mkdir()
    (found / "scaled.json").write_text(json.dumps(GRAPH))
    (found / "scaled.yaml").write_text(MANIFEST)
    return found


async def test_it_runs_with_its_example_and_a_picture_of_ours(place: Place, folder: Path) -> None:
    """What is required and no example can hold is given by the gateway; nothing is left behind."""
    settings = {"WORKFLOW_DIR": str(folder), "WARMUP_WORKFLOW": "scaled"}
    async with faulty.gateway(place, **settings) as gateway:
        await gateway.until_logged("warming up")
        assert place.written() == []
        assert place.sidecars() == []


async def test_a_name_that_is_not_there(place: Place, folder: Path) -> None:
    """/ready says what is wrong, and the start goes on as soon as it is mended."""
    settings = {"WORKFLOW_DIR": str(folder), "WARMUP_WORKFLOW": "scald"}
    async with faulty.gateway(place, ready=False, **settings) as gateway:
        await gateway.until_unready("There is no workflow called 'scald'")
        for path in list(folder.iterdir()):
            path.rename(folder / f"scald{path.suffix}")
        await gateway.until_ready(20)
