"""Named workflows through a real gateway: found, called, answered."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.acceptance import named
from tests.acceptance.conftest import Gateway, png, refused
from tests.acceptance.graphs import empty_image, picture_of
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def gateway(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    root = tmp_path_factory.mktemp("named")
    folder = named.write(root / "workflows")
    (folder / "copies.py").write_text(PYTHON)
    with start(WORKFLOW_DIR=str(folder), INPUT_DIR=str(root / "input")) as found:
        yield found


class TestCall:
    async def test_values_by_the_names_of_parameters(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color", {"input": {"side": 16, "color": 0xFF0000}})
        picture = picture_of(answer)
        assert (picture.size, picture.getpixel((0, 0))) == ((16, 16), (255, 0, 0))
        found = answer.json
        used = {"side": 16, "color": 0xFF0000, "name": "hello", "kind": "plain"}
        assert (found["workflow"], found["input"]) == ("color", used)
        assert found["prompt"]["1"]["inputs"]["width"] == 16

    async def test_no_value_at_all(self, gateway: Gateway) -> None:
        assert picture_of(await gateway.ask("/workflow/color", {})).size == (8, 8)

    @pytest.mark.parametrize(
        "path",
        ["people/portrait", "people%2Fportrait", "prompt", "F%C3%BC%C3%9Fe%20im%20Gras"],
    )
    async def test_names_of_all_sorts(self, gateway: Gateway, path: str) -> None:
        assert picture_of(await gateway.ask(f"/workflow/{path}", {})).size == (8, 4)

    async def test_every_field_of_prompt_does_what_it_does_there(self, gateway: Gateway) -> None:
        body = {
            "id": "fields-1",
            "metadata": {"order": 7},
            "convert_output": {"format": "webp"},
            "priority": 3,
            "more": 1,
        }
        answer = await gateway.ask("/workflow/color", body)
        found = answer.json
        assert found["outputs"][0]["content_type"] == "image/webp"
        assert (found["id"], found["metadata"]) == ("fields-1", {"order": 7})
        assert found["warnings"] == ["Unknown field 'more' was ignored."]

    async def test_a_seed_is_told_as_it_was_drawn(self, gateway: Gateway) -> None:
        answers = [await gateway.ask("/workflow/drawn", {"input": {}}) for _ in range(2)]
        drawn = [answer.json["input"]["seed"] for answer in answers]
        assert drawn[0] != drawn[1]
        assert [answer.json["prompt"]["3"]["inputs"]["seed"] for answer in answers] == drawn
        assert all(0 <= seed < 2**53 for seed in drawn)

    async def test_a_picture_as_base64_and_by_its_name(self, gateway: Gateway) -> None:
        encoded = base64.b64encode(png((5, 7))).decode()
        answer = await gateway.ask("/workflow/photo", {"input": {"photo": encoded}})
        assert picture_of(answer).size == (5, 7)
        name = answer.json["input"]["photo"]
        assert encoded not in answer.json["prompt"]["1"]["inputs"].values()
        again = await gateway.ask("/workflow/photo", {"input": {"photo": name}})
        assert again.json["input"]["photo"] == name

    async def test_one_id_is_one_request(self, gateway: Gateway) -> None:
        body = {"id": "joined", "input": {"color": 1}}
        first = await gateway.ask("/workflow/color", body)
        second = await gateway.ask("/workflow/color", body)
        assert first.json["images"] == second.json["images"]
        for path, other in (
            ("/workflow/color", {**body, "input": {"color": 2}}),
            ("/workflow/people/portrait", {"id": "joined", "input": {}}),
            ("/prompt", {"id": "joined", "prompt": empty_image()}),
        ):
            refused(await gateway.ask(path, other), 409, "id_taken", "joined")

    async def test_without_waiting(self, gateway: Gateway) -> None:
        answer = await gateway.ask(
            "/workflow/color", {"input": {"side": 4}}, headers={"Prefer": "respond-async"}
        )
        assert (answer.status, answer.json["input"]["side"]) == (202, 4)
        assert answer.headers["Location"] == f"/jobs/{answer.json['id']}"

    async def test_no_sidecars(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color", {"id": "bare", "metadata": False})
        assert (answer.status, answer.json["metadata"]) == (200, False)
        record = await gateway.ask("/jobs/bare")
        assert record.json["metadata"] is False
        bad = {"metadata": False, "input": {"side": 99}}
        refused(await gateway.ask("/workflow/color", bad), 422, "invalid_parameters")


class TestRetry:
    async def test_it_joins_its_job_when_the_workflow_is_gone(
        self, gateway: Gateway, inputs: Path
    ) -> None:
        folder = inputs.parent / "workflows"
        named.write(folder, {"brief": named.WORKFLOWS["photo"]})
        (folder / "brief.yaml").write_text(named.PHOTO)

        async def status() -> int:
            return (await gateway.ask("/workflow/brief")).status

        async def is_there() -> bool:
            return await status() == 200

        async def is_gone() -> bool:
            return await status() == 404

        await wait_until(is_there, description="the workflow is there")
        text = base64.b64encode(png()).decode()
        body = {"id": "brief-json", "input": {"photo": text}}
        task = {"id": "brief-task", "workflow_id": "brief", "params": {"photo": text}}
        form = (("photo", png(), "me.png"), ("id", "brief-form"))
        first = (await gateway.ask("/workflow/brief", body)).json
        begun = (await gateway.ask("/generate", task)).json
        sent = (await named.submit(gateway, "/workflow/brief", *form)).json
        (folder / "brief.yaml").write_text("parameters: {}\n")

        async def takes_nothing() -> bool:
            found = await gateway.ask("/workflow/brief")
            return found.json["parameters"]["properties"] == {}

        await wait_until(takes_nothing, description="the workflow takes no file any more")
        edited = await named.submit(gateway, "/workflow/brief", *form)
        assert edited.json["input"] == sent["input"]
        for ending in ("json", "yaml"):
            (folder / f"brief.{ending}").unlink()
        await wait_until(is_gone, description="the workflow is gone")
        assert (await gateway.ask("/workflow/brief", body)).json["images"] == first["images"]
        assert (await gateway.ask("/generate", task)).json == begun
        again = await named.submit(gateway, "/workflow/brief", *form)
        assert again.json["input"] == sent["input"]
        other = {**body, "input": {"photo": "other.png"}}
        refused(await gateway.ask("/workflow/brief", other), 409, "id_taken")
        before = sorted(inputs.iterdir())
        new = (("photo", png((5, 5)), "me.png"), ("id", "brief-new"))
        late = await named.submit(gateway, "/workflow/brief", *new)
        refused(late, 404, "workflow_not_found")
        refused(await gateway.ask("/workflow/brief", raw=b"{"), 404, "workflow_not_found")
        refused(await gateway.ask("/workflow/brief?dry_run=true", body), 404, "workflow_not_found")
        assert sorted(inputs.iterdir()) == before


class TestFormat:
    @pytest.mark.parametrize("form", ["jpeg", "jpg", "webp", "avif", "png", "PNG"])
    @pytest.mark.parametrize("path", ["/workflow/color", "/prompt"])
    async def test_the_picture_itself(self, gateway: Gateway, path: str, form: str) -> None:
        body = {"prompt": empty_image()} if path == "/prompt" else {"input": {"side": 8}}
        answer = await gateway.ask(f"{path}?format={form}", body)
        mime = "image/jpeg" if form == "jpg" else f"image/{form.lower()}"
        assert (answer.status, answer.headers["Content-Type"]) == (200, mime)
        assert answer.headers["X-Job-Id"]
        if form != "avif":
            assert Image.open(io.BytesIO(answer.raw)).width == 8

    async def test_what_is_of_that_type_is_passed_through(self, gateway: Gateway) -> None:
        body = {"id": "through"}
        answer = await gateway.ask("/workflow/color?format=png", body)
        plain = await gateway.ask("/workflow/color", body)
        assert base64.b64decode(plain.json["images"][0]) == answer.raw

    async def test_json_whatever_accept_says(self, gateway: Gateway) -> None:
        headers = {"Accept": "image/png"}
        answer = await gateway.ask("/workflow/color?format=json", {}, headers=headers)
        assert answer.json["status"] == "ok"
        raw = await gateway.ask("/workflow/color", {}, headers=headers)
        assert raw.headers["Content-Type"] == "image/png"

    async def test_options_of_convert_output_hold(self, gateway: Gateway) -> None:
        body = {"convert_output": {"format": "jpg", "options": {"quality": 5}}}
        answer = await gateway.ask("/workflow/color?format=jpeg", body)
        assert answer.headers["Content-Type"] == "image/jpeg"

    @pytest.mark.parametrize(
        ("query", "body", "says"),
        [
            ("format=bmp", {}, ["'bmp'", "png", "avif", "json"]),
            ("format=png", {"convert_output": {"format": "webp"}}, ["format=png", "'webp'"]),
            ("format=png", {"webhook_v2": "http://127.0.0.1:9/"}, ["/jobs/{id}/outputs/0"]),
        ],
    )
    async def test_what_cannot_be(
        self, gateway: Gateway, query: str, body: dict[str, Any], says: list[str]
    ) -> None:
        answer = await gateway.ask(f"/workflow/color?{query}", body)
        assert refused(answer, 422, "invalid_request", *says)["location"] == "format"


class TestDryRun:
    async def test_it_tells_what_would_run(self, gateway: Gateway) -> None:
        path = "/workflow/color?dry_run=true"
        answer = await gateway.ask(path, {"id": "rehearsed", "input": {"side": 16}})
        found = answer.json
        assert (answer.status, found["input"]["side"]) == (200, 16)
        assert found["prompt"]["1"]["inputs"]["height"] == 16
        assert any("1.inputs.width" in change for change in found["changes"])
        assert (await gateway.ask("/jobs/rehearsed")).status == 404

    async def test_of_a_raw_prompt(self, gateway: Gateway) -> None:
        body = {"prompt": empty_image(), "more": 1}
        answer = await gateway.ask("/prompt?dry_run=1", body)
        told = {"prompt": empty_image(), "changes": [], "warnings": answer.json["warnings"]}
        assert answer.json == told
        assert len(told["warnings"]) == 1

    async def test_no_file_is_left_behind(self, gateway: Gateway, inputs: Path) -> None:
        before = set(os.listdir(inputs))
        picture = png((11, 13), (1, 2, 3))
        body = {"input": {"photo": base64.b64encode(picture).decode()}}
        rehearsed = await gateway.ask("/workflow/photo?dry_run=true", body)
        form = await named.submit(
            gateway, "/workflow/photo?dry_run=true", ("photo", picture, "a.png")
        )
        raw = {"1": {"class_type": "LoadImage", "inputs": {"image": body["input"]["photo"]}}}
        plain = await gateway.ask("/prompt?dry_run=true", {"prompt": {**empty_image(), **raw}})
        assert [rehearsed.status, form.status, plain.status] == [200, 200, 200]
        assert set(os.listdir(inputs)) == before
        ran = await gateway.ask("/workflow/photo", body)
        assert ran.json["input"] == rehearsed.json["input"] == form.json["input"]

    async def test_what_is_wrong_is_told(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color?dry_run=true", {"input": {"side": 0}})
        refused(answer, 422, "invalid_parameters", "side")
        answer = await gateway.ask("/workflow/color?dry_run=perhaps", {})
        refused(answer, 422, "invalid_request", "dry_run is true or false")


class TestList:
    async def test_each_is_told(self, gateway: Gateway) -> None:
        listed = (await gateway.ask("/workflows")).json["workflows"]
        found = {entry["name"]: entry for entry in listed}
        assert found.keys() == {*named.WORKFLOWS, "copies"}
        color = found["color"]
        assert color["description"] == "A picture of one colour"
        assert color["parameters"]["properties"]["side"]["maximum"] == 64
        assert (color["available"], color["missing_nodes"], color["mistakes"]) == (True, [], [])
        assert "prompt" not in color
        assert found["photo"]["route"] == "/tryon"

    async def test_what_this_comfyui_lacks(self, gateway: Gateway) -> None:
        found = (await gateway.ask("/workflow/lacking")).json
        assert (found["available"], found["missing_nodes"]) == (False, ["NoSuchNode"])
        assert found["missing_models"] == [{"folder": "vae", "name": "nowhere.safetensors"}]
        answer = await gateway.ask("/workflow/lacking", {})
        refused(answer, 422, "invalid_graph", "NoSuchNode")

    async def test_one_with_its_graph(self, gateway: Gateway) -> None:
        found = (await gateway.ask("/workflow/people/portrait")).json
        assert (found["name"], found["prompt"]) == ("people/portrait", empty_image())

    async def test_its_example_runs(self, gateway: Gateway) -> None:
        example = (await gateway.ask("/workflow/color")).json["example"]
        assert (await gateway.ask("/workflow/color", {"input": example})).status == 200


class TestAlias:
    async def test_it_is_the_workflow(self, gateway: Gateway) -> None:
        answer = await named.submit(gateway, "/tryon", ("photo", png((5, 4)), "me.png"))
        assert picture_of(answer).size == (5, 4)
        encoded = base64.b64encode(png((5, 4))).decode()
        answer = await gateway.ask("/tryon?format=webp", {"input": {"photo": encoded}})
        assert answer.headers["Content-Type"] == "image/webp"

    async def test_only_for_post(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/tryon")
        refused(answer, 405, "method_not_allowed", "POST", "/workflow/photo")
        assert answer.headers["Allow"] == "POST"
        refused(await gateway.ask("/tryoff", {}), 404, "not_found")

    async def test_its_requests_are_counted_as_others_are(self, gateway: Gateway) -> None:
        text = (await gateway.ask("/metrics")).raw.decode()
        assert 'route="/workflow/{name}"' in text
        assert "tryon" not in text
        assert "portrait" not in text


class TestTasks:
    async def test_from_its_begin_to_its_end(self, gateway: Gateway) -> None:
        body = {"workflow_id": "drawn", "params": {"seed": 42}, "id": "task-1"}
        answer = await gateway.ask("/generate", body)
        assert (answer.status, answer.json) == (202, {"task_id": "task-1"})
        assert answer.headers["Location"] == "/tasks/task-1"

        async def is_over() -> bool:
            found = (await gateway.ask("/tasks/task-1")).json
            assert found["status"] in ("PENDING", "STARTED", "SUCCESS")
            return bool(found["status"] == "SUCCESS")

        await wait_until(is_over, description="the task is over")
        found = (await gateway.ask("/tasks/task-1")).json
        assert found["progress"]["value"] == 1
        assert (found["result"]["seed"], len(found["result"]["outputs"])) == (42, 1)
        picture = await gateway.ask(found["result"]["download_url"])
        assert picture.headers["Content-Type"] == "image/png"
        assert (await gateway.ask("/generate", body)).json == {"task_id": "task-1"}

    async def test_one_that_fails(self, gateway: Gateway) -> None:
        body = {"workflow_id": "photo", "params": {"photo": "http://127.0.0.1:9/a.png"}}
        answer = await gateway.ask("/generate", body)
        refused(answer, 422, "invalid_parameters", "photo")
        assert answer.json["location"] == "params.photo"

    async def test_what_cannot_be(self, gateway: Gateway) -> None:
        refused(await gateway.ask("/tasks/none"), 404, "job_not_found", "none")
        answer = await gateway.ask("/generate", {"workflow_id": "colour"})
        refused(answer, 404, "workflow_not_found", "color")
        answer = await gateway.ask("/generate", {"params": {}})
        refused(answer, 422, "invalid_request", "workflow_id")
        answer = await gateway.ask("/generate", {"workflow_id": "color", "params": {"side": "8"}})
        assert refused(answer, 422, "invalid_parameters", "8")["location"] == "params.side"


@pytest.fixture
def inputs(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ComfyUI looks for inputs."""
    return next(path for path in tmp_path_factory.getbasetemp().glob("named*/input"))


PYTHON = """
from pydantic import BaseModel, Field, SecretStr

DESCRIPTION = "As many pictures as are asked for"
ROUTE = "/copies"


class Size(BaseModel):
    width: int = Field(8, ge=1, le=64)


class Request(BaseModel):
    copies: int = Field(ge=1, le=4)
    size: Size = Size()
    photo: str | None = None
    token: SecretStr | None = None
    fail: bool = False


def build(request):
    if request.fail:
        raise RuntimeError("on purpose")
    if request.size.width == 13:
        raise ValueError("13 is unlucky")
    inputs = {"width": request.size.width, "height": 4, "batch_size": request.copies, "color": 1}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "p"}},
    }
    if request.photo:
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": request.photo}}
    return graph
"""


class TestPython:
    async def test_its_code_makes_the_graph(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/copies", {"input": {"copies": 3}})
        assert answer.status == 200, answer.raw
        assert len(answer.json["images"]) == 3
        assert answer.json["input"] == {"copies": 3}
        assert (await gateway.ask("/copies", {"input": {"copies": 1}})).status == 200

    async def test_a_form_and_a_file(self, gateway: Gateway) -> None:
        form = await named.submit(gateway, "/copies", ("photo", png((5, 7)), "a.png"), copies="1")
        assert picture_of(form).size == (5, 7)
        encoded = base64.b64encode(png((5, 7))).decode()
        answer = await gateway.ask("/copies", {"input": {"copies": 1, "photo": encoded}})
        assert picture_of(answer).size == (5, 7)
        assert answer.json["input"]["photo"] == form.json["input"]["photo"]

    async def test_a_secret_is_told_to_its_code_alone(self, gateway: Gateway) -> None:
        body = {"id": "secret-1", "input": {"copies": 1, "token": "sesame"}}
        answer = await gateway.ask("/copies", body)
        assert answer.json["input"] == {"copies": 1}
        assert b"sesame" not in answer.raw + (await gateway.ask("/jobs/secret-1")).raw

    async def test_what_is_wrong_is_told(self, gateway: Gateway) -> None:
        given = {"copies": 9, "size": {"width": 0}, "more": 1}
        answer = await gateway.ask("/workflow/copies", {"input": given})
        told = refused(answer, 422, "invalid_parameters")
        assert {"copies", "size.width"} <= {one["parameter"] for one in told["errors"]}
        answer = await gateway.ask("/workflow/copies", {"input": {"copies": 1, "fail": True}})
        refused(answer, 500, "build_failed", "RuntimeError")
        answer = await gateway.ask("/copies", {"input": {"copies": 1, "size": {"width": 13}}})
        told = refused(answer, 422, "invalid_parameters", "13 is unlucky")
        assert told["location"] == "input"

    async def test_it_is_listed(self, gateway: Gateway) -> None:
        found = (await gateway.ask("/workflow/copies")).json
        assert (found["prompt"], found["route"], found["available"]) == (None, "/copies", True)
        assert found["description"] == "As many pictures as are asked for"
        assert found["parameters"]["properties"]["copies"]["maximum"] == 4


class TestDocument:
    async def test_it_follows_the_folder(self, gateway: Gateway, inputs: Path) -> None:
        async def paths() -> set[str]:
            async with (
                aiohttp.ClientSession(gateway.url) as session,
                session.get("/openapi.json") as answer,
            ):
                return set((await answer.json())["paths"])

        known = await paths()
        names = ("/workflow/color", "/workflow/people/portrait", "/tryon")
        assert known.issuperset((*names, "/workflow/F%C3%BC%C3%9Fe%20im%20Gras"))
        late = {"late": (empty_image(), "route: /later\nparameters: {}\n")}
        named.write(inputs.parent / "workflows", late)

        async def is_there() -> bool:
            return {"/workflow/late", "/later"} <= await paths()

        await wait_until(is_there, description="the document tells of the new workflow")
        assert (await gateway.ask("/later", {})).status == 200
        for name in ("late.json", "late.yaml"):
            (inputs.parent / "workflows" / name).unlink()

        async def is_gone() -> bool:
            return await paths() == known

        await wait_until(is_gone, description="the document has forgotten it")
        refused(await gateway.ask("/later", {}), 404, "not_found")
