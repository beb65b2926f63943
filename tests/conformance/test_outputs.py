"""What output nodes write, and how they name it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from .conftest import (
    Client,
    empty_image,
    save,
    unique,
)


async def test_saved_pictures_hold_their_graph(client: Client) -> None:
    graph = {"1": empty_image(0xFF8040), "2": save("1", unique())}
    extra = {"extra_pnginfo": {"workflow": {"nodes": []}, "note": "é"}}

    _, entry = await client.run(graph, extra_data=extra)

    saved = entry["outputs"]["2"]["images"][0]
    _, content = await client.get("/view", filename=saved["filename"], type="output")
    picture = Image.open(io.BytesIO(content))
    assert picture.getpixel((0, 0)) == (255, 128, 64)
    assert json.loads(picture.info["prompt"]) == graph
    assert json.loads(picture.info["workflow"]) == {"nodes": []}
    assert json.loads(picture.info["note"]) == "é"


@pytest.mark.parametrize(
    ("prefix", "name", "subfolder"),
    [
        ("{}%width%x%height%", "{}32x16_00001_.png", ""),
        ("{}/%batch_num%", "0_00001_.png", "{}"),
        ("{}/a//b/../c", "c_00001_.png", "{}/a"),
        ("./{}", "{}_00001_.png", ""),
    ],
)
async def test_prefixes_name_files(client: Client, prefix: str, name: str, subfolder: str) -> None:
    mark = unique()
    _, entry = await client.run({"1": empty_image(1015), "2": save("1", prefix.format(mark))})

    assert entry["outputs"]["2"]["images"] == [
        {"filename": name.format(mark), "subfolder": subfolder.format(mark), "type": "output"}
    ]


async def test_counters_go_on_after_the_highest(client: Client) -> None:
    mark = unique()
    output = client.engine.base / "output"
    for name in (f"{mark}_00041_.png", f"{mark}_7.png", f"{mark}_x_.png", f"{mark}more_00099_.png"):
        (output / name).touch()

    _, entry = await client.run({"1": empty_image(1016, batch=2), "2": save("1", mark)})

    names = [image["filename"] for image in entry["outputs"]["2"]["images"]]
    assert names == [f"{mark}_00042_.png", f"{mark}_00043_.png"]


async def test_previews_keep_their_suffix_for_a_node(client: Client) -> None:
    names = []
    for color in (1017, 1018):
        graph = {
            "1": empty_image(color),
            "7": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
        _, entry = await client.run(graph)
        names.append(entry["outputs"]["7"]["images"][0]["filename"])

    assert names[0].endswith("_00001_.png")
    assert names[1] == names[0].replace("00001", "00002")


@pytest.mark.parametrize(
    ("value", "shown"), [("text", "text"), ("7", "7"), ("", ""), ("null", "null")]
)
async def test_text_is_shown(client: Client, value: str, shown: str) -> None:
    _, entry = await client.run(
        {
            "1": {"class_type": "PrimitiveString", "inputs": {"value": value}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        }
    )

    assert entry["outputs"]["2"] == {"text": [shown]}


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "True"), (1.5, "1.5"), (None, "None"), ({"a": [1]}, '{"a": [1]}')]
)
async def test_plain_values_are_shown(client: Client, value: Any, shown: str) -> None:
    _, entry = await client.run({"1": {"class_type": "PreviewAny", "inputs": {"source": value}}})

    assert entry["outputs"]["1"] == {"text": [shown]}
