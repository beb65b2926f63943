"""What is refused before it is queued, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Client, empty_image, save

IMAGE_SPEC = ["IMAGE", {"tooltip": "The images to save."}]
WIDTH_SPEC = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]


def saving(source: Any) -> dict[str, Any]:
    return {"1": source, "2": save("1")}


def sized(**inputs: Any) -> dict[str, Any]:
    image = empty_image()
    image["inputs"] |= inputs
    return saving(image)


def loading(**inputs: Any) -> dict[str, Any]:
    return saving({"class_type": "LoadImage", "inputs": inputs})


def error(kind: str, message: str, details: str, **extra_info: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def converting(value: Any, why: str) -> dict[str, Any]:
    return error(
        "invalid_input_type",
        "Failed to convert an input value to a INT value",
        f"width, {value}, {why}",
        input_name="width",
        input_config=WIDTH_SPEC,
        received_value=value,
        exception_message=why,
    )


def raising(details: str, kind: str, **more: Any) -> dict[str, Any]:
    return error(
        "exception_during_inner_validation" if more else "exception_during_validation",
        "Exception when validating inner node" if more else "Exception when validating node",
        details,
        exception_type=kind,
        traceback=None,
        **more,
    )


NOT_AN_INT = "int() argument must be a string, a bytes-like object or a real number, not '{}'"
INNER = {"input_name": "images", "input_config": IMAGE_SPEC, "linked_node": ["1", 0]}

# A graph, the node that is blamed, and its errors.
REFUSED: dict[str, tuple[dict[str, Any], str, list[dict[str, Any]]]] = {
    "a link of three": (
        {
            "2": {
                "class_type": "SaveImage",
                "inputs": {"images": ["1", 0, 0], "filename_prefix": ""},
            }
        },
        "2",
        [
            error(
                "bad_linked_input",
                "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                "images",
                input_name="images",
                input_config=IMAGE_SPEC,
                received_value=["1", 0, 0],
            )
        ],
    ),
    "a slot that is not there": (
        {
            "1": empty_image(),
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 1], "filename_prefix": ""}},
        },
        "2",
        [raising("tuple index out of range", "IndexError")],
    ),
    "a slot by name": (
        {
            "1": empty_image(),
            "2": {
                "class_type": "SaveImage",
                "inputs": {"images": ["1", "a"], "filename_prefix": ""},
            },
        },
        "2",
        [raising("tuple indices must be integers or slices, not str", "TypeError")],
    ),
    "no inputs at all": (
        {"2": {"class_type": "SaveImage"}},
        "2",
        [raising("'inputs'", "KeyError")],
    ),
    "an inner node without inputs": (
        saving({"class_type": "EmptyImage"}),
        "1",
        [raising("'inputs'", "KeyError", exception_message="'inputs'", **INNER)],
    ),
    "null for a number": (
        sized(width=None),
        "1",
        [converting(None, NOT_AN_INT.format("NoneType"))],
    ),
    "an object for a number": (
        sized(width={"a": 1}),
        "1",
        [converting({"a": 1}, NOT_AN_INT.format("dict"))],
    ),
    "wrapped, and too large": (
        sized(width={"__value__": 16385}),
        "1",
        [
            error(
                "value_bigger_than_max",
                "Value 16385 bigger than max of 16384",
                "width",
                input_name="width",
                input_config=WIDTH_SPEC,
                received_value=16385,
            )
        ],
    ),
    "two errors in one node": (
        sized(width=0, height="tall"),
        "1",
        [
            error(
                "invalid_input_type",
                "Failed to convert an input value to a INT value",
                "height, tall, invalid literal for int() with base 10: 'tall'",
                input_name="height",
                input_config=WIDTH_SPEC,
                received_value="tall",
                exception_message="invalid literal for int() with base 10: 'tall'",
            ),
            error(
                "value_smaller_than_min",
                "Value 0 smaller than min of 1",
                "width",
                input_name="width",
                input_config=WIDTH_SPEC,
                received_value=0,
            ),
        ],
    ),
    "a picture that is not there": (
        loading(image="nowhere.png"),
        "1",
        [
            error(
                "custom_validation_failed",
                "Custom validation failed for node",
                "image - Invalid image file: nowhere.png",
                input_name="image",
            )
        ],
    ),
    "no picture": (
        loading(),
        "1",
        [
            raising(
                text
                := "LoadImage.VALIDATE_INPUTS() missing 1 required positional argument: 'image'",
                "TypeError",
                exception_message=text,
                **INNER,
            )
        ],
    ),
    "a number for a picture": (
        loading(image=7),
        "1",
        [
            raising(
                text := "'int' object has no attribute 'endswith'",
                "AttributeError",
                exception_message=text,
                **INNER,
            )
        ],
    ),
    "a channel that is none": (
        {
            "1": {
                "class_type": "LoadImageMask",
                "inputs": {"image": "nowhere.png", "channel": "x"},
            },
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        },
        "1",
        [
            error(
                "custom_validation_failed",
                "Custom validation failed for node",
                "image - Invalid image file: nowhere.png",
                input_name="image",
            ),
            error(
                "value_not_in_list",
                "Value not in list",
                "channel: 'x' not in ['alpha', 'red', 'green', 'blue']",
                input_name="channel",
                input_config=[["alpha", "red", "green", "blue"], {}],
                received_value="x",
            ),
        ],
    ),
    "a choice of many": (
        {
            "1": {
                "class_type": "EmptyLatentImage",
                "inputs": {"width": 64, "height": 64, "batch_size": 1},
            },
            "2": {
                "class_type": "KSampler",
                "inputs": {
                    "model": ["3", 0],
                    "positive": ["4", 0],
                    "negative": ["4", 0],
                    "latent_image": ["1", 0],
                    "seed": 1,
                    "steps": 1,
                    "cfg": 1,
                    "sampler_name": "magic",
                    "scheduler": "normal",
                    "denoise": 1,
                },
            },
            "3": {
                "class_type": "CheckpointLoaderSimple",
                "inputs": {"ckpt_name": "model.safetensors"},
            },
            "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["3", 1]}},
            "5": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["3", 2]}},
            "6": save("5"),
        },
        "2",
        [
            error(
                "value_not_in_list",
                "Value not in list",
                "sampler_name: 'magic' not in (list of length 42)",
                input_name="sampler_name",
                input_config=None,
                received_value="magic",
            )
        ],
    ),
}


def comparable(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In one order, since ComfyUI checks inputs in none; and without tracebacks."""
    for one in errors:
        if "traceback" in one["extra_info"]:
            one["extra_info"]["traceback"] = None
    return sorted(errors, key=lambda one: str(one["details"]))


@pytest.mark.parametrize("case", REFUSED)
async def test_a_bad_graph_is_refused_with_reasons(client: Client, case: str) -> None:
    graph, blamed, errors = REFUSED[case]

    status, body = await client.submit(graph)

    assert status == 400
    assert body["error"]["type"] == "prompt_outputs_failed_validation"
    assert list(body["node_errors"]) == [blamed]
    entry = body["node_errors"][blamed]
    assert comparable(entry["errors"]) == comparable(errors)
    assert entry["class_type"] == graph[blamed]["class_type"]
    assert entry["dependent_outputs"] == [max(graph)]


@pytest.mark.parametrize(
    "prompt",
    [None, 5, "text", ["a"], {"1": None}, {"1": 5}, {"1": []}, {"1": {"class_type": ["x"]}}],
    ids=repr,
)
async def test_what_is_no_graph_breaks_the_engine(client: Client, prompt: Any) -> None:
    status, body = await client.submit(prompt)

    expected = 400 if prompt == {"1": []} else 500
    assert status == expected, body


@pytest.mark.parametrize("body", ['{"prompt": ', "", "null", "5"])
async def test_a_body_that_is_no_object_breaks_the_engine(client: Client, body: str) -> None:
    async with client.session.post(f"{client.engine.url}/prompt", data=body) as response:
        assert response.status == 500
        assert await response.text() == "500 Internal Server Error\n\nServer got itself in trouble"


async def test_one_good_output_is_enough(client: Client) -> None:
    graph = {
        "1": empty_image(501),
        "2": save("1"),
        "3": save("9"),
        "4": {"class_type": "PreviewImage", "inputs": {}},
    }

    status, body = await client.submit(graph)

    assert status == 200
    assert set(body["node_errors"]) == {"3", "4"}
    await client.until_done(body["prompt_id"])


async def test_only_the_wanted_outputs_run(client: Client) -> None:
    graph = {"1": empty_image(502), "2": save("1"), "3": save("1", "other")}

    _, entry = await client.run(graph, partial_execution_targets=["3"])

    assert list(entry["outputs"]) == ["3"]
    status, body = await client.submit(graph, partial_execution_targets=["1"])
    assert (status, body["error"]["type"]) == (400, "prompt_no_outputs")


async def test_the_errors_of_a_cycle_are_nobodys(client: Client) -> None:
    graph = {
        "1": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        "2": {
            "class_type": "EmptyImage",
            "inputs": {"width": 0, "height": 1, "batch_size": 1, "color": 0},
        },
        "3": save("1"),
    }

    status, body = await client.submit(graph)

    assert status == 400
    assert list(body["node_errors"]) == ["2"]
    assert body["error"]["details"] == ""
