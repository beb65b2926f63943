"""LoRAs in requests: a real gateway, its embedded engine, a real host of weights."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.graphs import empty_image
from tests.acceptance.weights import Host, cached_name, link, serving_weights, weights

LORAS = ("detail.safetensors", "styles/ink.safetensors", "old/ink.safetensors")


@pytest.fixture(scope="module")
def gateway(start: Callable[..., Any], tmp_path_factory: Any) -> Iterator[Gateway]:
    """A gateway with a checkpoint, three LoRAs and lists of LoRAs."""
    workflows = tmp_path_factory.mktemp("workflows")
    (workflows / "lora_presets.yaml").write_text(
        "light:\n"
        "  - {name: detail.safetensors, strength: 0.2}\n"
        "inked:\n"
        "  - {name: ink, strength: 0.3}\n"
        "soft:\n"
        "  - {name: detail.safetensors, strength: 0.4}\n"
        "  - {url: 'https://ann:s3cret@host.example/x.safetensors?token=abc', target: high}\n"
    )
    settings = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8", "WORKFLOW_DIR": str(workflows)}
    with start(**settings) as found:
        for folder, name in (("checkpoints", "sd15.safetensors"), *(("loras", n) for n in LORAS)):
            path = link(found, folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(weights(name))
        yield found


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    async with serving_weights() as found:
        yield found


def painting() -> dict[str, Any]:
    """A graph that samples with a checkpoint."""
    encode = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "a cat"}}
    sample = {
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["6", 0],
        "latent_image": ["5", 0],
        "seed": 1,
        "steps": 1,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    latent = {"width": 64, "height": 64, "batch_size": 1}
    return {
        "3": {"class_type": "KSampler", "inputs": sample},
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "sd15.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": latent},
        "6": encode,
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }


async def ask(gateway: Gateway, *loras: dict[str, Any], **more: Any) -> Any:
    return await gateway.ask(body={"prompt": painting(), "loras": list(loras), **more})


class TestRun:
    async def test_loras_run_in_the_order_given(self, gateway: Gateway) -> None:
        answer = await ask(
            gateway,
            {"name": "styles/ink.safetensors", "strength": 0.5, "strength_clip": 0},
            {"name": "detail"},
        )
        assert answer.status == 200, answer.told
        ran = answer.json["prompt"]
        assert ran["gateway_lora_1"] == {
            "class_type": "LoraLoader",
            "inputs": {
                "model": ["4", 0],
                "clip": ["4", 1],
                "lora_name": "styles/ink.safetensors",
                "strength_model": 0.5,
                "strength_clip": 0,
            },
        }
        assert ran["gateway_lora_2"]["inputs"]["lora_name"] == "detail.safetensors"
        assert ran["3"]["inputs"]["model"] == ["gateway_lora_2", 0]
        assert ran["6"]["inputs"]["clip"] == ["gateway_lora_2", 1]
        assert len(answer.json["images"]) == 1

    async def test_a_list_comes_before_the_request_s_own(self, gateway: Gateway) -> None:
        answer = await ask(gateway, {"name": "styles/ink"}, lora_preset="light", preset="draft")
        assert answer.status == 200, answer.told
        ran = answer.json["prompt"]
        names = [ran[f"gateway_lora_{at}"]["inputs"]["lora_name"] for at in (1, 2)]
        assert names == ["detail.safetensors", "styles/ink.safetensors"]
        assert ran["3"]["inputs"]["steps"] == 10

    async def test_a_part_that_the_graph_does_not_have(self, gateway: Gateway) -> None:
        answer = await ask(gateway, lora_preset="soft")
        found = refused(answer, 422, "lora_refused", "'high' names no model chain")
        assert found["targets"] == ["4"]

    async def test_one_that_came_meanwhile_is_found(self, gateway: Gateway) -> None:
        link(gateway, "loras", "late.safetensors").write_bytes(weights("late"))
        answer = await ask(gateway, {"name": "late.safetensors"})
        assert answer.status == 200, answer.told

    async def test_by_url_through_the_cache(self, gateway: Gateway, host: Host) -> None:
        url = f"{host.url}/basic/x.safetensors"
        answer = await ask(gateway, {"url": url.replace("://", "://ann:s3cret@")}, id="by-url")
        assert answer.status == 200, answer.told
        assert b"s3cret" not in answer.raw
        assert answer.json["loras"] == [{"url": url}]
        name = cached_name(url)
        assert answer.json["prompt"]["gateway_lora_1"]["inputs"]["lora_name"] == name
        assert host.asked(url) == 1
        assert b"s3cret" not in (await gateway.ask("/jobs/by-url")).raw
        listed = (await gateway.ask("/loras")).json["loras"]
        assert {"name": name, "url": url} in listed

    async def test_by_url_without_the_password(self, gateway: Gateway, host: Host) -> None:
        answer = await ask(gateway, {"url": f"{host.url}/basic/y.safetensors"})
        assert answer.status == 400
        assert answer.json["code"] == "model_not_fetched"
        assert answer.json["location"] == "loras.0.url"

    async def test_a_rehearsal_shows_no_password(self, gateway: Gateway, host: Host) -> None:
        url = host.url.replace("://", "://ann:s3cret@") + "/basic/z.safetensors"
        answer = await gateway.ask(
            "/prompt?dry_run=true", {"prompt": painting(), "loras": [{"url": url}]}
        )
        assert answer.status == 200, answer.told
        assert b"s3cret" not in answer.raw
        assert "gateway_lora_1" in answer.json["prompt"]


class TestLists:
    async def test_loras(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/loras")
        assert {"name": "styles/ink.safetensors"} in answer.json["loras"]

    async def test_presets(self, gateway: Gateway) -> None:
        found = (await gateway.ask("/presets")).json
        assert found["presets"]["draft"] == {
            "steps": 10,
            "cfg": 5.0,
            "sampler": "euler",
            "scheduler": "normal",
        }
        assert found["lora_presets"]["soft"] == [
            {"name": "detail.safetensors", "strength": 0.4},
            {
                "url": "https://host.example/x.safetensors?token=***",
                "strength": 1.0,
                "target": "high",
            },
        ]


class TestBadInput:
    async def test_no_such_lora(self, gateway: Gateway) -> None:
        answer = await ask(gateway, {"name": "detial.safetensors"})
        found = refused(answer, 422, "unknown_lora", "detial", "detail.safetensors")
        assert found["location"] == "loras.0.name"
        assert "detail.safetensors" in found["closest"]

    async def test_a_name_of_two(self, gateway: Gateway) -> None:
        answer = await ask(gateway, {"name": "ink"})
        refused(answer, 422, "unknown_lora", "2 LoRAs", "styles/ink.safetensors")

    async def test_a_list_that_names_two(self, gateway: Gateway) -> None:
        answer = await ask(gateway, lora_preset="inked")
        assert refused(answer, 422, "unknown_lora")["location"] == "lora_preset"

    @pytest.mark.parametrize(
        ("lora", "location"),
        [
            ({"name": "a", "strength": 1e9}, "loras.0.strength"),
            ({"name": "a", "strength": "1"}, "loras.0.strength"),
            ({"name": "a", "strength": True}, "loras.0.strength"),
            ({"name": "a", "strength_clip": -101}, "loras.0.strength_clip"),
            ({"name": "a", "url": "https://host.example/a"}, "loras.0"),
            ({"strength": 1}, "loras.0"),
            ({"name": "a", "weight": 1}, "loras.0.weight"),
            ({"name": "https://ann:s3cret@host.example/a"}, "loras.0.name"),
            ({"url": "detail.safetensors"}, "loras.0.url"),
            ({"url": "https://"}, "loras.0.url"),
            ({"url": "https://10.1.2.3/a.safetensors"}, "loras.0.url"),
        ],
    )
    async def test_a_lora_that_is_none(
        self, gateway: Gateway, lora: dict[str, Any], location: str
    ) -> None:
        answer = await ask(gateway, lora)
        assert answer.status in (400, 422), answer.raw
        assert answer.json["location"] == location, answer.json
        assert b"s3cret" not in answer.raw

    async def test_not_a_number(self, gateway: Gateway) -> None:
        raw = b'{"prompt": {}, "loras": [{"name": "a", "strength": NaN}]}'
        refused(await gateway.ask(raw=raw), 400, "invalid_json")

    async def test_more_than_64(self, gateway: Gateway) -> None:
        answer = await ask(gateway, *[{"name": "detail"}] * 65)
        assert refused(answer, 422, "invalid_request", "64")["location"] == "loras"

    async def test_no_such_list(self, gateway: Gateway) -> None:
        answer = await ask(gateway, lora_preset="sofd")
        assert refused(answer, 422, "unknown_preset", "soft")["presets"] == [
            "inked",
            "light",
            "soft",
        ]

    async def test_no_such_preset(self, gateway: Gateway) -> None:
        answer = await ask(gateway, preset="drafd")
        assert "draft" in refused(answer, 422, "unknown_preset", "draft")["presets"]

    async def test_a_graph_without_a_model(self, gateway: Gateway) -> None:
        body = {"prompt": empty_image(), "loras": [{"name": "detail"}]}
        refused(await gateway.ask(body=body), 422, "lora_refused", "no model loader")
