"""What made an output stands beside it, goes where it goes, and goes when it goes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest

from tests.acceptance import faulty
from tests.acceptance.conftest import Gateway
from tests.acceptance.faulty import Place, picture
from tests.acceptance.graphs import empty_image
from tests.acceptance.shelves import Shelf
from tests.contract.providers.servers import BUCKET, Servers
from tests.waiting import wait_until
from tests.weights import safetensors

CHECKPOINT = safetensors(4096, seed=1)
PASSWORD = "pl4nted-p4ssword"
LOCAL = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}


@pytest.fixture(scope="module")
def equipped(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with a checkpoint and a LoRA."""
    models = tmp_path_factory.mktemp("models")
    for folder, name in (("checkpoints", "sd.safetensors"), ("loras", "ink.safetensors")):
        (models / folder).mkdir()
        (models / folder / name).write_bytes(CHECKPOINT)
    with start(**LOCAL, MODEL_DIR=str(models)) as found:
        yield found


def text_to_image(seed: int = 77, batch: int = 1) -> dict[str, Any]:
    latent = {"width": 64, "height": 32, "batch_size": batch}
    lora = {"lora_name": "ink.safetensors", "strength_model": 0.7, "strength_clip": 0.5}
    sampler = {
        "seed": seed,
        "steps": 3,
        "cfg": 6.5,
        "denoise": 1.0,
        "sampler_name": "euler",
        "scheduler": "karras",
        "model": ["2", 0],
        "positive": ["3", 0],
        "negative": ["4", 0],
        "latent_image": ["5", 0],
    }
    nodes = [
        ("CheckpointLoaderSimple", {"ckpt_name": "sd.safetensors"}),
        ("LoraLoader", {"model": ["1", 0], "clip": ["1", 1], **lora}),
        ("CLIPTextEncode", {"text": "a fox at sunset", "clip": ["2", 1]}),
        ("CLIPTextEncode", {"text": "blurry", "clip": ["2", 1]}),
        ("EmptyLatentImage", latent),
        ("KSampler", sampler),
        ("VAEDecode", {"samples": ["6", 0], "vae": ["1", 2]}),
        ("SaveImage", {"images": ["7", 0], "filename_prefix": "fox"}),
    ]
    return {
        str(at): {"class_type": kind, "inputs": inputs}
        for at, (kind, inputs) in enumerate(nodes, 1)
    }


def sidecars(gateway: Gateway, job_id: str) -> dict[str, dict[str, Any]]:
    """Return what stands beside the outputs of a job, by name."""
    return {
        path.name: json.loads(path.read_bytes())
        for path in (gateway.folder / "state_dir").rglob("*.json")
        if job_id in str(path)
    }


async def test_a_sidecar_has_what_made_the_picture(equipped: Gateway) -> None:
    first = await equipped.ask(body={"prompt": text_to_image(), "id": "fox"})
    assert first.status == 200, first.raw
    assert (first.json["filenames"], first.json["warnings"]) == (["fox_fox_00001_.png"], [])
    assert "sidecar" not in str(first.json["outputs"])
    assert len(first.json["images"]) == 1
    found = sidecars(equipped, "fox")
    assert list(found) == ["fox_fox_00001_.png.json"]
    told = found["fox_fox_00001_.png.json"]
    assert told.pop("timestamp").endswith("Z")
    assert told.pop("duration") >= 0
    assert told.pop("gateway_version")
    assert told.pop("comfyui_version")[0].isdigit()
    models = told.pop("models")
    assert [(one["folder"], one["name"]) for one in models] == [
        ("checkpoints", "sd.safetensors"),
        ("loras", "ink.safetensors"),
    ]
    assert told == {
        "job_id": "fox",
        "workflow": None,
        "prompt": "a fox at sunset",
        "negative_prompt": "blurry",
        "seed": 77,
        "steps": 3,
        "cfg": 6.5,
        "sampler": "euler",
        "scheduler": "karras",
        "denoise": 1.0,
        "loras": [{"name": "ink.safetensors", "strength": 0.7, "strength_clip": 0.5}],
        "preset": None,
        "validation_score": None,
        "url": "/jobs/fox/outputs/0",
        "filename": "fox_fox_00001_.png",
        "node_id": "8",
        "index": 0,
        "width": 64,
        "height": 32,
    }


async def test_a_later_job_tells_the_checksums(equipped: Gateway) -> None:
    seed = 1000

    async def checksums() -> set[str | None]:
        nonlocal seed
        seed += 1
        body = {"prompt": text_to_image(seed), "id": f"sum{seed}"}
        assert (await equipped.ask(body=body)).status == 200
        [told] = sidecars(equipped, f"sum{seed}").values()
        return {model["sha256"] for model in told["models"]}

    expected = {hashlib.sha256(CHECKPOINT).hexdigest()}

    async def are_known() -> bool:
        return await checksums() == expected

    await wait_until(are_known, description="both models were read")
    kept = json.loads((equipped.folder / "state_dir" / "model-hashes.json").read_bytes())
    assert {row[-1] for row in kept} == expected


async def test_each_picture_of_a_batch_has_its_own(equipped: Gateway) -> None:
    graph = text_to_image(5, batch=2)
    graph["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}
    answer = (await equipped.ask(body={"prompt": graph, "id": "many"})).json
    assert len(answer["filenames"]) == len(answer["images"]) == 4
    saved = sidecars(equipped, "many")
    assert len(saved) == 2
    for index, output in enumerate(answer["outputs"]):
        told = (await equipped.ask(f"{output['url']}/metadata")).json
        assert (told["index"], told["filename"]) == (index, output["filename"])
        assert (told["seed"], told["url"]) == (5, output["url"])
        if output["type"] == "output":
            assert saved[f"{output['filename']}.json"] == told
        else:
            [path] = (equipped.folder / "state_dir" / "temp").rglob(f"{output['filename']}.json")
            assert json.loads(path.read_bytes()) == told
    assert (await equipped.ask("/jobs/many", method="DELETE")).status == 204
    assert sidecars(equipped, "many") == {}
    assert not path.exists()


async def test_what_no_graph_tells_is_null(equipped: Gateway) -> None:
    answer = await equipped.ask(body={"prompt": empty_image(), "id": "plain"})
    assert answer.status == 200
    told = (await equipped.ask("/jobs/plain/outputs/0-any.png/metadata")).json
    assert sidecars(equipped, "plain") == {told["filename"] + ".json": told}
    assert [told[name] for name in ("prompt", "seed", "steps", "sampler")] == [None] * 4
    assert (told["loras"], told["models"], told["width"], told["height"]) == ([], [], 8, 4)


async def test_metadata_false_leaves_nothing(equipped: Gateway) -> None:
    body = {"prompt": text_to_image(6), "id": "silent", "metadata": False}
    answer = await equipped.ask(body=body)
    assert (answer.status, answer.json["metadata"]) == (200, False)
    assert sidecars(equipped, "silent") == {}
    refused = await equipped.ask("/jobs/silent/outputs/0/metadata")
    assert (refused.status, refused.json["code"]) == (404, "output_not_found")
    assert "metadata: false" in refused.told
    assert (await equipped.ask("/jobs/silent")).json["metadata"] is False


@pytest.mark.parametrize(
    "path", ["/jobs/nobody/outputs/0/metadata", "/jobs/asks/outputs/7/metadata"]
)
async def test_an_output_that_is_not_there(equipped: Gateway, path: str) -> None:
    await equipped.ask(body={"prompt": empty_image(), "id": "asks"})
    assert (await equipped.ask(path)).status == 404


async def test_what_is_converted_is_what_is_told(equipped: Gateway) -> None:
    wish = {"format": "webp"}
    body = {"prompt": text_to_image(8), "id": "webp", "convert_output": wish}
    answer = (await equipped.ask(body=body)).json
    assert answer["filenames"] == ["webp_fox_00001_.webp"]
    found = sidecars(equipped, "webp")
    assert list(found) == ["webp_fox_00001_.webp.json"]
    assert found["webp_fox_00001_.webp.json"]["filename"] == "webp_fox_00001_.webp"
    assert (await equipped.ask("/jobs/webp", method="DELETE")).status == 204
    assert sidecars(equipped, "webp") == {}
    assert not (equipped.folder / "state_dir" / "converted" / "webp").exists()


async def test_secrets_are_in_no_sidecar(equipped: Gateway, shelf: Shelf) -> None:
    given = {"url_pattern": f"{shelf.url}/**", "auth": {"type": "bearer", "token": PASSWORD}}
    body = {
        "prompt": text_to_image(9),
        "id": "hushed",
        "credentials": [given],
        "extra_data": {"key": PASSWORD},
        "http_upload": {"url_prefix": f"{shelf.url}/x?token={PASSWORD}"},
    }
    answer = await equipped.ask(body=body)
    assert answer.status == 200, answer.raw
    told = (await equipped.ask("/jobs/hushed/outputs/0/metadata")).raw
    assert PASSWORD not in f"{told!r}{sidecars(equipped, 'hushed')}{shelf.sidecars}"


async def test_a_sidecar_is_uploaded_with_its_picture(equipped: Gateway, shelf: Shelf) -> None:
    graph = text_to_image(10)
    for node in ("9", "10"):
        inputs = {"images": ["7", 0], "filename_prefix": f"{node}/same"}
        graph[node] = {"class_type": "SaveImage", "inputs": inputs}
    body = {"prompt": graph, "id": "sent", "http_upload": {"url_prefix": f"{shelf.url}/out"}}
    answer = (await equipped.ask(body=body)).json
    assert len(answer["images"]) == 3
    assert {f"{shelf.url}{path}" for path in shelf.files} == set(answer["images"])
    assert shelf.sidecars.keys() == {f"{path}.json" for path in shelf.files}
    for url, output in zip(answer["images"], answer["outputs"], strict=True):
        told = json.loads(shelf.sidecars[url.removeprefix(shelf.url) + ".json"])
        assert told["url"] == url == output["uploaded_to"]
        assert told == (await equipped.ask(f"{output['url']}/metadata")).json


async def test_what_is_uploaded_is_converted_and_told(equipped: Gateway, shelf: Shelf) -> None:
    wishes = {"convert_output": {"format": "jpeg"}, "http_upload": {"url_prefix": shelf.url}}
    answer = (await equipped.ask(body={"prompt": text_to_image(11), "id": "jpg", **wishes})).json
    assert answer["images"] == [f"{shelf.url}/jpg_fox_00001_.jpeg"]
    told = json.loads(shelf.sidecars["/jpg_fox_00001_.jpeg.json"])
    assert (told["url"], told["filename"]) == (answer["images"][0], "jpg_fox_00001_.jpeg")


async def test_a_host_that_takes_pictures_alone(equipped: Gateway, shelf: Shelf) -> None:
    shelf.sidecar_status = 415
    wishes = {"http_upload": {"url_prefix": shelf.url}}
    answer = await equipped.ask(body={"prompt": text_to_image(12), "id": "alone", **wishes})
    assert answer.status == 200
    [warning] = answer.json["warnings"]
    assert warning.startswith("alone_fox_00001_.png.json could not be uploaded")
    assert "415" in warning


async def test_a_sidecar_in_a_bucket(equipped: Gateway, servers: Servers) -> None:
    auth = {"access_key_id": "caller", "secret_access_key": PASSWORD, "region": "us-east-1"}
    key = {"url_pattern": "s3://**", "auth": {"type": "s3", "endpoint": servers.buckets, **auth}}
    body = {
        "prompt": text_to_image(13),
        "id": "kept",
        "s3": {"bucket": BUCKET, "prefix": "side/", "presign_s": 60},
        "credentials": [key],
    }
    answer = (await equipped.ask(body=body)).json
    assert answer["images"] == [f"s3://{BUCKET}/side/kept_fox_00001_.png"], answer
    assert (len(answer["presigned_urls"]), answer["warnings"]) == (1, [])
    keys = await servers_listing(servers)
    assert "side/kept_fox_00001_.png.json" in keys


async def servers_listing(servers: Servers) -> str:
    url = f"{servers.buckets}/{BUCKET}?list-type=2&prefix=side/"
    async with aiohttp.ClientSession() as session, session.get(url) as found:
        return await found.text()


async def test_they_go_with_their_outputs(place: Place) -> None:
    async with faulty.gateway(place, OUTPUT_TTL_S="1") as found:
        answer = await found.prompt(picture(1), id="short")
        assert answer.status == 200
        await wait_until(
            lambda: not place.written() and not place.sidecars(), description="both are gone"
        )
        told = await found.ask("GET", "/jobs/short/outputs/0/metadata")
        assert (told.status, told.body["job_id"]) == (200, "short")


async def test_a_kill_in_the_middle_of_an_upload(place: Place, shelf: Shelf) -> None:
    shelf.may_answer.clear()
    async with faulty.gateway(place, **LOCAL) as found:
        wishes = {"http_upload": {"url_prefix": shelf.url, "async": True}}
        await found.prompt(picture(1), id="cut", **wishes)
        await wait_until(lambda: shelf.asked, description="the upload is under way")
        await found.die()
    for path in place.sidecars():
        path.unlink()
    shelf.may_answer.set()
    async with faulty.gateway(place, **LOCAL) as found:
        job = await found.until_state("cut", "succeeded", "failed")
        assert (job["state"], job["warnings"]) == ("succeeded", [])
        told = (await found.ask("GET", "/jobs/cut/outputs/0/metadata")).body
    assert json.loads(shelf.sidecars["/cut_p_00001_.png.json"]) == told
    assert [json.loads(path.read_bytes()) for path in place.sidecars()] == [told]


async def test_a_file_of_that_name_is_left_alone(equipped: Gateway) -> None:
    foreign = equipped.folder / "state_dir" / "converted" / "own" / "0" / "own_fox_00001_.webp.json"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    body = {"prompt": text_to_image(14), "id": "own", "convert_output": {"format": "webp"}}
    answer = await equipped.ask(body=body)
    assert answer.status == 200
    assert answer.json["warnings"] == [
        "own_fox_00001_.webp.json could not be written: another file has this name."
    ]
    assert (await equipped.ask("/jobs/own", method="DELETE")).status == 204
    assert [path.read_text() for path in foreign.parent.iterdir()] == ["mine"]


async def test_a_cancelled_job_leaves_none(place: Place, shelf: Shelf) -> None:
    shelf.may_answer.clear()
    async with faulty.gateway(place, **LOCAL, OUTPUT_TTL_S="0") as found:
        wishes = {"http_upload": {"url_prefix": shelf.url, "async": True}}
        await found.prompt(picture(1), id="ended", **wishes)
        await wait_until(lambda: shelf.asked, description="the upload is under way")
        assert len(place.sidecars()) == 1
        await found.ask("POST", "/jobs/ended/cancel")
        await found.until_state("ended", "cancelled")
        await wait_until(lambda: not place.sidecars(), description="it is gone")


async def test_what_is_written_behind_an_answer_goes_with_its_output(place: Place) -> None:
    """The files of an anonymous job may be gone before its sidecar is written."""
    async with faulty.gateway(place, OUTPUT_TTL_S="0") as found:
        answers = await asyncio.gather(*(found.prompt(picture(color)) for color in range(20)))
        assert {answer.status for answer in answers} == {200}
        await wait_until(lambda: not place.written(), description="the outputs are gone")
        found.terminate()
        assert await found.exit_status() == 0
    assert place.sidecars() == []
