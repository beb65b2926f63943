"""Graphs with a sampler on the embedded engine, and weights that are cut short on any."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from PIL import Image

from .conftest import (
    MODEL,
    Client,
    Connect,
    Running,
    empty_image,
    kinds,
    safetensors_bytes,
    save,
    unique,
)


def text_to_image(steps: int = 3, seed: int = 5, **sampler: Any) -> dict[str, Any]:
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed, "steps": steps, "cfg": 7, "sampler_name": "euler",
                "scheduler": "normal", "denoise": 1, "model": ["4", 0], "positive": ["6", 0],
                "negative": ["7", 0], "latent_image": ["5", 0], **sampler,
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "model.safetensors"}},
        "5": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 48, "batch_size": 2},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": save("8", unique()),
    }  # fmt: skip


async def weights_of(engine: Running) -> None:
    (engine.base / "models/checkpoints" / MODEL).write_bytes(safetensors_bytes())


async def test_previews_carry_their_node_for_those_who_can_read_it(
    start: Callable[..., Running], connected: Connect
) -> None:
    engine = start()
    await weights_of(engine)
    client = await connected(engine)
    await client.socket.send_json(
        {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
    )
    await client.next_frame()

    frames, entry = await client.run(text_to_image())

    order = kinds(frames)
    first = order.index("preview")
    assert order[first - 1 : first + 2] == ["progress_state", "preview", "progress"]
    preview = frames[first]
    assert preview["binary"]["event"] == 4
    length = preview["binary"]["image_type"]
    metadata = json.loads(preview["bytes"][:length])
    assert metadata["node_id"] == "3"
    assert metadata["image_type"] == "image/jpeg"
    assert Image.open(io.BytesIO(preview["bytes"][length:])).size == (512, 384)
    assert len(entry["outputs"]["9"]["images"]) == 2


async def test_the_same_seed_draws_the_same_picture(
    start: Callable[..., Running], connected: Connect
) -> None:
    engine = start("--preview-method", "none")
    await weights_of(engine)
    client = await connected(engine)
    drawn = []
    for graph in (text_to_image(), text_to_image(), text_to_image(seed=6)):
        graph["5"]["inputs"]["nonce"] = len(drawn)
        frames, entry = await client.run(graph)
        assert "preview" not in kinds(frames)
        name = entry["outputs"]["9"]["images"][0]["filename"]
        drawn.append(Image.open(engine.base / "output" / name).tobytes())

    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


async def test_image_to_image_keeps_what_it_was_given(
    start: Callable[..., Running], connected: Connect
) -> None:
    engine = start()
    await weights_of(engine)
    client = await connected(engine)
    graph = text_to_image(denoise=0.0)
    graph["5"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["4", 2]}}
    graph["1"] = empty_image(0x336699, width=64, height=48)

    _, entry = await client.run(graph)

    name = entry["outputs"]["9"]["images"][0]["filename"]
    with Image.open(engine.base / "output" / name) as picture:
        assert picture.size == (64, 48)
        red, green, blue = picture.getpixel((20, 20))
    assert abs(red - 0x33) <= 1
    assert abs(green - 0x66) <= 1
    assert abs(blue - 0x99) <= 1


async def test_weights_cut_short_fail_their_loader(client: Client) -> None:
    graph = text_to_image()
    graph["4"]["inputs"]["ckpt_name"] = "cut.safetensors"

    frames, _ = await client.run(graph)

    failure = next(f["data"] for f in frames if f.get("type") == "execution_error")
    assert failure["node_type"] == "CheckpointLoaderSimple"
    assert failure["exception_message"] == (
        "Error while deserializing header: incomplete metadata, file not fully covered\n"
    )
