"""What an engine says about itself: classes, folders, features, statistics."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Client, Connect, Running, empty_image, safetensors_bytes, save, unique

KINDS = [
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision",
    "style_models", "embeddings", "diffusers", "vae_approx", "controlnet", "gligen",
    "upscale_models", "custom_nodes", "hypernetworks", "photomaker", "classifiers",
    "model_patches", "audio_encoders",
]  # fmt: skip
PATHS = [
    "/prompt", "/queue", "/history", "/history/none", "/object_info/SaveImage", "/models",
    "/models/checkpoints", "/embeddings", "/extensions", "/features", "/system_stats",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_every_route_is_also_under_api(client: Client, path: str) -> None:
    status, body = await client.get(path)
    under_api = await client.get(f"/api{path}")

    assert status == 200
    assert under_api[0] == 200
    if path != "/system_stats":
        assert under_api[1] == body


async def test_folders_are_listed_with_what_loaders_can_open(client: Client) -> None:
    models = client.engine.base / "models"
    mark = unique()
    files = (f"loras/{mark}/deep.safetensors", f"loras/{mark}.txt", f"loras/{mark}.PT",
             f"clip/{mark}.bin", f"unet/{mark}.sft", f"embeddings/{mark}.pt")  # fmt: skip
    for name in files:
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).write_bytes(safetensors_bytes())

    async def listed(kind: str) -> list[str]:
        return [name for name in (await client.get(f"/models/{kind}"))[1] if mark in name]

    assert (await client.get("/models"))[1] == KINDS
    assert await listed("loras") == [f"{mark}.PT", f"{mark}/deep.safetensors"]
    assert await listed("text_encoders") == [f"{mark}.bin"]
    assert await listed("diffusion_models") == [f"{mark}.sft"]
    assert mark in (await client.get("/embeddings"))[1]
    for kind in ("nope", "unet", "clip"):
        assert await client.get(f"/models/{kind}") == (404, b"")
    info = (await client.get("/object_info/LoraLoaderModelOnly"))[1]["LoraLoaderModelOnly"]
    assert f"{mark}.PT" in info["input"]["required"]["lora_name"][0]


async def test_a_new_file_is_offered_at_once(client: Client) -> None:
    name = f"{unique()}.safetensors"
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["9", 0], "vae": ["1", 2]}},
        "4": save("3"),
        "9": {"class_type": "VAEEncode", "inputs": {"pixels": ["8", 0], "vae": ["1", 2]}},
        "8": empty_image(),
    }
    _, refused = await client.submit(graph)
    assert refused["node_errors"]["1"]["errors"][0]["type"] == "value_not_in_list"

    (client.engine.base / "models/checkpoints" / name).write_bytes(safetensors_bytes())

    status, body = await client.submit(graph)
    assert (status, body["node_errors"]) == (200, {})
    await client.until_done(body["prompt_id"])


async def test_unknown_classes_have_no_entry(client: Client) -> None:
    assert await client.get("/object_info/Nope") == (200, {})


async def test_all_classes_are_described_as_single_ones_are(client: Client) -> None:
    _, everything = await client.get("/object_info")

    for name in ("KSampler", "LoadImage", "PrimitiveString", "PreviewAny"):
        assert (await client.get(f"/object_info/{name}"))[1] == {name: everything[name]}


async def test_statistics_have_their_fields(client: Client) -> None:
    _, stats = await client.get("/system_stats")

    assert set(stats["system"]) == {
        "os", "ram_total", "ram_free", "comfyui_version", "required_frontend_version",
        "installed_templates_version", "required_templates_version", "python_version",
        "pytorch_version", "embedded_python", "argv",
    }  # fmt: skip
    (device,) = stats["devices"]
    assert set(device) == {
        "name", "type", "index", "vram_total", "vram_free", "torch_vram_total", "torch_vram_free",
    }  # fmt: skip


async def test_pages_of_strangers_are_refused(client: Client) -> None:
    url, port = client.engine.url, client.engine.port
    for origin, status in (
        ("http://evil.example", 403),
        (f"http://127.0.0.1:{port + 1}", 403),
        (f"http://127.0.0.1:{port}", 200),
    ):
        async with client.session.get(f"{url}/prompt", headers={"Origin": origin}) as response:
            assert response.status == status, origin
    async with client.session.options(f"{url}/prompt") as response:
        assert response.status == 200


async def test_the_front_page_says_what_this_is(
    start: Callable[..., Running], connected: Connect
) -> None:
    client = await connected(start())

    status, page = await client.get("/")

    assert status == 200
    assert "does not diffuse" in page
    assert (await client.get("/no/such/page"))[0] == 404
