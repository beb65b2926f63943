"""POST /jobs/{id}/reproduce: the same picture again, or one that differs in what was asked."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance import named
from tests.acceptance.conftest import Answer, Gateway, png, refused
from tests.acceptance.graphs import empty_image, load_image, picture_of
from tests.sampling import put_model, sampler

BLUE = 0x0000FF
MANIFEST = """\
parameters:
  side: {type: integer, default: 8, min: 1, max: 64, bind: [1.inputs.width, 1.inputs.height]}
  color: {type: integer, default: 255, min: 0, max: 16777215, bind: 1.inputs.color}
"""


@pytest.fixture(scope="module")
def equipped(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    root = tmp_path_factory.mktemp("reproduce")
    put_model(root / "models")
    folder = named.write(root / "workflows", {"color": (empty_image(), MANIFEST)})
    with start(
        ALLOW_PRIVATE_NETWORKS="127.0.0.0/8",
        MODEL_DIR=str(root / "models"),
        WORKFLOW_DIR=str(folder),
        INPUT_DIR=str(root / "input"),
    ) as found:
        yield found


async def again(
    gateway: Gateway, job_id: str, body: Any = None, *, query: str = "", **more: Any
) -> Answer:
    """Reproduce a job; without a body, none is sent."""
    path = f"/jobs/{job_id}/reproduce?{query}"
    return await gateway.ask(path, body, raw=b"" if body is None else None, method="POST", **more)


async def run(gateway: Gateway, graph: dict[str, Any], **more: Any) -> Answer:
    answer = await gateway.ask(body={"prompt": graph, **more})
    assert answer.status == 200, answer.raw
    return answer


def pixels(answer: Answer) -> bytes:
    return picture_of(answer).tobytes()


class TestTheSame:
    async def test_every_pixel_is_the_same(self, equipped: Gateway) -> None:
        first = await run(equipped, sampler(2, seed=2**64 - 1))
        second = await again(equipped, first.json["id"])
        assert pixels(second) == pixels(first)
        assert second.json["id"] != first.json["id"]
        assert second.json["reproduces"] == first.json["id"]
        assert second.json["filenames"] == [f"{second.json['id']}_s_00001_.png"]
        third = await again(equipped, second.json["id"], {})
        assert pixels(third) == pixels(first)

    async def test_what_came_by_url_is_fetched_again(self, equipped: Gateway, host: str) -> None:
        url = f"{host}/red.png"
        first = await run(equipped, load_image(url))
        assert first.json["prompt"]["1"]["inputs"]["image"] != url
        answer = await again(equipped, first.json["id"], {"id": "dry"}, query="dry_run=true")
        assert answer.json["prompt"]["1"]["inputs"]["image"] == url
        assert pixels(await again(equipped, first.json["id"])) == pixels(first)

    async def test_what_came_as_base64_is_asked_for_when_it_is_gone(
        self, equipped: Gateway
    ) -> None:
        red, green = (base64.b64encode(png(color=one)).decode() for one in ((255, 0, 0), (0, 9, 0)))
        first = await run(equipped, load_image(red), id="base64")
        assert pixels(await again(equipped, "base64")) == pixels(first)

        # As the janitor does, when its time is over.
        name = first.json["prompt"]["1"]["inputs"]["image"]
        next(equipped.folder.parent.rglob(name)).unlink()

        found = refused(await again(equipped, "base64"), 400, "invalid_input", "1.image")
        assert found["location"] == "overrides.1.image"
        assert pixels(await again(equipped, "base64", {"overrides": {"1.image": red}})) == pixels(
            first
        )
        other = await again(equipped, "base64", {"overrides": {"1.image": green}})
        assert pixels(other) != pixels(first)

    async def test_a_job_that_failed(self, equipped: Gateway) -> None:
        graph = empty_image()
        failed = await equipped.ask(body={"id": "late", "prompt": graph, "timeout": 1e-6})
        assert failed.status == 504
        assert picture_of(await again(equipped, "late")).size == (8, 4)


class TestOtherwise:
    async def test_other_values_make_another_picture(self, equipped: Gateway) -> None:
        first = await run(equipped, sampler(2, seed=5))
        job_id = first.json["id"]
        overrides = {"seed": 6, "prompt": "another", "3.inputs.steps": 3, "width": 128}
        second = await again(equipped, job_id, {"overrides": overrides})
        inputs = second.json["prompt"]["3"]["inputs"]
        assert (inputs["seed"], inputs["steps"]) == (6, 3)
        assert second.json["prompt"]["6"]["inputs"]["text"] == "another"
        assert picture_of(second).size == (128, 64)
        back = {"overrides": {"seed": 5, "prompt": "a", "steps": 2, "width": 64}}
        assert pixels(await again(equipped, second.json["id"], back)) == pixels(first)

    async def test_a_seed_is_drawn_where_that_is_asked(self, equipped: Gateway) -> None:
        first = await run(equipped, sampler(1, seed=5))
        drawn = await again(equipped, first.json["id"], {"overrides": {"seed": "random"}})
        assert drawn.json["prompt"]["3"]["inputs"]["seed"] not in (5, "random")

    async def test_a_preset_applies_and_an_override_wins(self, equipped: Gateway) -> None:
        first = await run(equipped, sampler(1))
        body = {"preset": "draft", "overrides": {"steps": 2}}
        second = await again(equipped, first.json["id"], body)
        inputs = second.json["prompt"]["3"]["inputs"]
        assert (inputs["cfg"], inputs["steps"]) == (5.0, 2)
        assert second.json["preset"] == "draft"

    async def test_parameters_of_the_named_workflow(self, equipped: Gateway) -> None:
        first = await equipped.ask("/workflow/color", {"input": {"side": 4}})
        body = {"overrides": {"side": 6, "1.color": BLUE}}
        second = await again(equipped, first.json["id"], body)
        picture = picture_of(second)
        assert (picture.size, picture.getpixel((0, 0))) == ((6, 6), (0, 0, 255))
        assert second.json["workflow"] == "color"
        row = await equipped.ask(f"/generations?job_id={second.json['id']}")
        assert row.json["generations"][0]["workflow"] == "color"
        wrong = await again(equipped, first.json["id"], {"overrides": {"side": 65}})
        found = refused(wrong, 422, "invalid_parameters", "side", "64")
        assert found["errors"][0]["given"] == 65

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            ({"1.colour": 1}, ["1.color", "1.width"]),
            ({"sead": 1}, ["1.color"]),
            ({"seed": 1}, ["no sampler"]),
            ({"9.text": "a"}, ["1.color"]),
        ],
    )
    async def test_what_is_not_there(
        self, equipped: Gateway, overrides: dict[str, Any], says: list[str]
    ) -> None:
        await run(equipped, empty_image(), id="plain")
        answer = await again(equipped, "plain", {"overrides": overrides})
        refused(answer, 422, "invalid_parameters", *says)

    async def test_what_comfyui_would_refuse_names_the_override(self, equipped: Gateway) -> None:
        first = await run(equipped, sampler(1))
        body = {"overrides": {"sampler": "no such sampler"}}
        found = refused(await again(equipped, first.json["id"], body), 422, "invalid_graph")
        assert found["node_errors"]["3"]

    @pytest.mark.parametrize("raw", [b"{", b"[]", b'{"overrides": 7}', b"null"])
    async def test_bodies_that_are_none(self, equipped: Gateway, raw: bytes) -> None:
        await run(equipped, empty_image(), id="plain")
        answer = await equipped.ask("/jobs/plain/reproduce", raw=raw)
        assert answer.status in (400, 422)
        assert answer.json["code"] in ("invalid_json", "invalid_request")


class TestAnswers:
    async def test_it_answers_as_prompt_does(self, equipped: Gateway) -> None:
        await run(equipped, empty_image(), id="plain")
        raw = await again(equipped, "plain", headers={"Accept": "image/png"})
        assert raw.headers["Content-Type"] == "image/png"
        named = await again(equipped, "plain", {"id": "copy"}, headers={"Prefer": "respond-async"})
        assert (named.status, named.headers["Location"]) == (202, "/jobs/copy")
        joined = await again(equipped, "plain", {"id": "copy"})
        assert (joined.status, joined.json["id"]) == (200, "copy")
        refused(await again(equipped, "copy", {"id": "copy"}), 409, "id_taken")

    async def test_one_key_is_one_job(self, equipped: Gateway) -> None:
        await run(equipped, empty_image(), id="plain")
        key = {"Idempotency-Key": "again"}
        first, second = await asyncio.gather(
            again(equipped, "plain", headers=key), again(equipped, "plain", headers=key)
        )
        assert first.json["id"] == second.json["id"]

    async def test_what_the_first_was_sent_with_is_not_repeated(self, equipped: Gateway) -> None:
        more = {"convert_output": {"format": "webp"}, "metadata": {"order": 7}, "priority": 3}
        await run(equipped, empty_image(), id="dressed", extra_data={"key": 1}, **more)
        answer = await again(equipped, "dressed")
        assert not more.keys() & answer.json.keys()
        assert picture_of(answer).format == "PNG"
        assert "never stored" in answer.json["warnings"][0]

    async def test_an_unknown_job(self, equipped: Gateway) -> None:
        refused(await again(equipped, "nobody"), 404, "job_not_found", "nobody")
