"""Workflows as people save them: on the canvas, in a picture, in a file, by URL, in a form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance import faulty
from tests.acceptance.canvases import (
    CONVERTED,
    FILES,
    FORM,
    TOKEN,
    UNCHANGED,
    bare,
    base64_of,
    canvas,
    convert,
    files,
    form,
    saved,
    text,
)
from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.faulty import Place
from tests.acceptance.graphs import empty_image, picture_of
from tests.waiting import wait_until

__all__ = ["files"]


class TestGiven:
    """Each way of giving a workflow comes to the same graph."""

    @pytest.mark.parametrize(
        "prompt",
        [
            empty_image(),
            text(empty_image()),
            base64_of(text(empty_image()).encode()),
            "data:application/json;base64," + base64_of(text(empty_image()).encode()),
            base64_of(saved(prompt=text(empty_image()))),
            "data:image/png;base64," + base64_of(saved(prompt=text(empty_image()))),
            # The graph that ran is taken before the canvas that it was made on.
            base64_of(saved(prompt=text(empty_image()), workflow="{}")),
        ],
        ids=lambda value: str(value)[:24],
    )
    async def test_a_graph(self, gateway: Gateway, prompt: Any) -> None:
        answer = await convert(gateway, prompt)
        assert answer.json == {"prompt": empty_image(), "warnings": [UNCHANGED]}

    @pytest.mark.parametrize(
        "prompt",
        [
            canvas(),
            text(canvas()),
            base64_of(text(canvas()).encode()),
            base64_of(saved(workflow=text(canvas()))),
        ],
        ids=lambda value: str(value)[:24],
    )
    async def test_a_canvas(self, gateway: Gateway, prompt: Any) -> None:
        answer = await convert(gateway, prompt)
        assert answer.status == 200, answer.raw
        assert bare(answer.json["prompt"]) == empty_image()
        assert answer.json["warnings"][0] == CONVERTED

    @pytest.mark.parametrize(
        "path", ["graph.json", "request.json", "canvas.json", "graph.png", "canvas.png"]
    )
    async def test_a_url(self, gateway: Gateway, files: str, path: str) -> None:
        answer = await convert(gateway, f"{files}/{path}")
        assert answer.status == 200, answer.raw
        assert bare(answer.json["prompt"]) == empty_image()

    async def test_a_url_with_credentials(self, gateway: Gateway, files: str) -> None:
        url = f"{files}/private/graph.json"
        found = refused(await convert(gateway, url), 400, "input_not_fetched", "401")
        assert found["location"] == "prompt"
        auth = {"url_pattern": f"{files}/**", "auth": {"type": "bearer", "token": TOKEN}}
        answer = await convert(gateway, url, credentials=[auth])
        assert answer.json["prompt"] == empty_image()

    @pytest.mark.parametrize(
        ("raw", "kind"),
        [
            (json.dumps(canvas()).encode(), "application/json"),
            (saved(workflow=text(canvas())), "image/png"),
            (json.dumps(empty_image()).encode(), "application/json"),
            # What `curl --data-binary` says of everything.
            (saved(prompt=text(empty_image())), "application/x-www-form-urlencoded"),
            (b"\xef\xbb\xbf" + json.dumps(canvas()).encode(), "application/json"),
            (b"\xef\xbb\xbf" + json.dumps({"prompt": canvas()}).encode(), "application/json"),
            (json.dumps({**canvas(), "extra": {"scale": float("nan")}}).encode(), "text/plain"),
            (json.dumps(canvas()).encode("utf-16"), "application/json"),
            (json.dumps(empty_image()).encode("utf-16-le"), "text/plain"),
            (json.dumps({"workflow": canvas(), "credentials": []}).encode(), "application/json"),
            (json.dumps({"workflow": empty_image()}).encode(), "application/json"),
            (json.dumps({"prompt": {"workflow": canvas()}}).encode(), "application/json"),
            (json.dumps({**empty_image(), "_workflow_metadata": {}}).encode(), "text/plain"),
        ],
    )
    async def test_the_whole_body(self, gateway: Gateway, raw: bytes, kind: str) -> None:
        answer = await gateway.ask("/convert", raw=raw, headers={"Content-Type": kind})
        assert answer.status == 200, answer.raw
        assert bare(answer.json["prompt"]) == empty_image()

    @pytest.mark.parametrize(
        "part",
        [
            saved(workflow=text(canvas())),
            json.dumps(canvas()).encode(),
            text(canvas()),
            base64_of(saved(prompt=text(empty_image()))),
        ],
        ids=["picture", "file", "text", "base64"],
    )
    async def test_a_form(self, gateway: Gateway, part: str | bytes) -> None:
        raw = form(("prompt", part), name="mine")
        answer = await gateway.ask("/convert", raw=raw, headers=FORM)
        assert answer.status == 200, answer.raw
        assert bare(answer.json["prompt"]) == empty_image()


class TestRun:
    async def test_a_canvas_runs(self, gateway: Gateway) -> None:
        answer = await gateway.ask(raw=json.dumps(canvas()).encode())
        assert picture_of(answer).getpixel((0, 0)) == (0, 255, 0)
        found = answer.json
        assert found["warnings"][0] == CONVERTED
        assert found["prompt"]["1"]["class_type"] == "EmptyImage"
        # What the canvas calls itself names no job.
        assert found["id"] != canvas()["id"]

    async def test_a_picture_by_url_and_its_picture(self, gateway: Gateway, files: str) -> None:
        answer = await gateway.ask("/prompt?format=png", {"prompt": f"{files}/graph.png"})
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")

    async def test_a_form_with_fields(self, gateway: Gateway) -> None:
        raw = form(
            ("prompt", saved(prompt=text(empty_image()))),
            ("id", "of-a-form"),
            ("metadata", text({"mine": 1})),
            ("colour", "red"),
            name="saved.png",
        )
        answer = await gateway.ask(raw=raw, headers=FORM)
        assert picture_of(answer).size == (8, 4)
        assert (answer.json["id"], answer.json["metadata"]) == ("of-a-form", {"mine": 1})
        assert answer.json["warnings"] == ["Unknown field 'colour' was ignored."]
        # The same once more is the same job; another file is another request.
        assert (await gateway.ask(raw=raw, headers=FORM)).json["outputs"] == answer.json["outputs"]
        other = form(("prompt", saved(workflow=text(canvas()))), ("id", "of-a-form"), name="x.png")
        refused(await gateway.ask(raw=other, headers=FORM), 409, "id_taken", "of-a-form")

    async def test_a_retry_needs_the_file_no_more(self, gateway: Gateway, files: str) -> None:
        FILES["/once.json"] = json.dumps(empty_image()).encode()
        body = {"prompt": f"{files}/once.json", "id": "once"}
        first = await gateway.ask(body=body)
        del FILES["/once.json"]
        assert (await gateway.ask(body=body)).json["outputs"] == first.json["outputs"]

    async def test_an_asynchronous_one(self, gateway: Gateway) -> None:
        answer = await gateway.ask(
            body={"prompt": canvas(), "priority": 3}, headers={"Prefer": "respond-async"}
        )
        assert answer.status == 202
        assert (answer.json["priority"], answer.json["warnings"][0]) == (3, CONVERTED)
        assert bare(answer.json["prompt"]) == empty_image()

    async def test_a_rehearsal(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/prompt?dry_run=true", {"prompt": canvas()})
        assert bare(answer.json["prompt"]) == empty_image()
        assert answer.json["warnings"][0] == CONVERTED

    async def test_what_is_wrong_with_the_graph_is_told_of_the_graph(
        self, gateway: Gateway
    ) -> None:
        body = {"prompt": canvas(widgets_values=["nowhere", 4, 1, 0])}
        answer = await gateway.ask(body=body)
        assert answer.status == 422, answer.raw
        assert answer.json["location"].startswith("prompt")

    @pytest.mark.parametrize("path", ["/prompt", "/prompt?dry_run=true"])
    async def test_the_warnings_of_a_conversion_stand_in_the_refusal(
        self, gateway: Gateway, path: str
    ) -> None:
        body = {"prompt": {**canvas(), "links": []}}
        found = refused(await gateway.ask(path, body), 422, "invalid_graph", "input is missing")
        assert found["warnings"][0] == CONVERTED
        assert "is linked to nothing that is in the file" in found["warnings"][1]


class TestDefinitions:
    """What ComfyUI says of its nodes decides, as soon as it has said it."""

    async def test_a_class_that_comfyui_has_by_now(self, place: Place) -> None:
        command = place.command("--startup-delay 2", "")
        late = command.replace("gateway.embedded", "tests.child_programs.engine_with_late_nodes")
        body = {"prompt": canvas(type="LateImage")}
        async with faulty.gateway(place, ready=False, CMD=late) as found:
            early = await found.ask("POST", "/convert", body)
            assert (early.status, early.body["code"]) == (503, "not_ready")
            assert int(early.headers["Retry-After"]) >= 1
            graph = await found.ask("POST", "/convert", {"prompt": empty_image()})
            assert graph.body["prompt"] == empty_image()

            await found.until_ready()
            answer = await found.ask("POST", "/convert", body)
            assert (answer.status, answer.body["code"]) == (422, "not_convertible")
            assert "embedded engine" not in answer.body["hint"]
            (place.folder / "input" / "LateImage").touch()

            async def is_known() -> bool:
                return (await found.ask("POST", "/convert", body)).status == 200

            await wait_until(is_known, description="ComfyUI was asked about the class again")


class TestConverted:
    async def test_unknown_fields_are_told(self, gateway: Gateway) -> None:
        answer = await convert(gateway, empty_image(), priority=3)
        assert answer.json["warnings"] == ["Unknown field 'priority' was ignored.", UNCHANGED]

    async def test_it_is_not_asked_for(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/convert")
        refused(answer, 405, "method_not_allowed", "POST")
