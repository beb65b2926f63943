"""Workflows as people save them: on the canvas, in a picture, in a file, by URL, in a form."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.api.descriptions import CANVAS_EXAMPLE
from tests.acceptance import faulty
from tests.acceptance.conftest import Answer, Gateway, png, refused
from tests.acceptance.faulty import Place
from tests.acceptance.graphs import Graph, empty_image, picture_of
from tests.listening import listening
from tests.waiting import wait_until

TOKEN = "only-for-the-files"
CONVERTED = "The workflow was converted from the format of the canvas."
UNCHANGED = "The workflow is in API format already: it is as it was given."
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


def canvas(**of_the_node: Any) -> dict[str, Any]:
    """Return the canvas that `empty_image` would be saved as."""
    found: dict[str, Any] = json.loads(json.dumps(CANVAS_EXAMPLE))
    found["nodes"][0] |= {"widgets_values": [8, 4, 1, 0x00FF00], **of_the_node}
    found["nodes"][1] |= {"widgets_values": ["picture"]}
    # As the newer version of the format has it; it is not the job's.
    return {**found, "id": "6f1a52c0-3c0f-4f3e-9e2f-000000000000", "extra": {"ds": {"scale": 1}}}


def saved(**texts: str) -> bytes:
    """Return a picture with these texts in it, as ComfyUI saves it."""
    found = PngInfo()
    for name, text in texts.items():
        found.add_text(name, text)
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG", pnginfo=found)
    return file.getvalue()


def text(value: Any) -> str:
    return json.dumps(value)


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def form(*parts: tuple[str, str | bytes], name: str = "") -> bytes:
    """Return a form; with a file where the content is bytes."""
    found = b""
    for part, content in parts:
        raw = content if isinstance(content, bytes) else content.encode()
        more = f'; filename="{name}"' if isinstance(content, bytes) else ""
        head = f'Content-Disposition: form-data; name="{part}"{more}\r\n\r\n'
        found += b"--edge\r\n" + head.encode() + raw + b"\r\n"
    return found + b"--edge--\r\n"


async def convert(gateway: Gateway, prompt: Any, **fields: Any) -> Answer:
    return await gateway.ask("/convert", {"prompt": prompt, **fields})


#: path -> what the host has there; a path below /private is given to whoever has the token.
FILES: dict[str, bytes] = {
    "/graph.json": json.dumps(empty_image()).encode(),
    "/request.json": json.dumps({"id": "not-this", "prompt": empty_image()}).encode(),
    "/canvas.json": b"\xef\xbb\xbf" + json.dumps(canvas()).encode(),
    "/graph.png": saved(prompt=text(empty_image()), workflow=text(canvas())),
    "/canvas.png": saved(workflow=text(canvas())),
    "/private/graph.json": json.dumps(empty_image()).encode(),
    "/bare.png": png(),
    "/page.png": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "/empty.json": b"",
    "/list.json": b"[1, 2]",
    "/cut.json": b'{"1": {"class_type": ',
    "/large.json": b'{"1": "' + b"x" * 1_100_000 + b'"}',
    "/other.bin": b"MZ\x90\x00\x03",
}


async def give(request: web.Request) -> web.Response:
    if request.path.startswith("/private") and TOKEN not in request.headers.get(
        "Authorization", ""
    ):
        return web.Response(status=401)
    if request.path not in FILES:
        return web.Response(status=404)
    return web.Response(body=FILES[request.path])


@pytest.fixture
async def files() -> AsyncIterator[str]:
    async with listening(web.get("/{path:.*}", give)) as url:
        yield url


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


def bare(graph: Graph) -> Graph:
    """Return a graph without the titles of its nodes."""
    return {
        node_id: {key: value for key, value in node.items() if key != "_meta"}
        for node_id, node in graph.items()
    }


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


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "status", "code", "says"),
        [
            ("missing.json", 400, "input_not_fetched", "404"),
            ("bare.png", 400, "invalid_input", "strip it"),
            ("page.png", 400, "invalid_input", "web page"),
            ("empty.json", 400, "invalid_input", "it is empty"),
            ("list.json", 400, "invalid_input", "no object"),
            ("cut.json", 400, "invalid_json", "is not JSON"),
            ("large.json", 413, "input_too_large", "MAX_BODY_SIZE_MB"),
            ("other.bin", 400, "invalid_input", "PNG, WebP, JPEG, FLAC or MP4"),
        ],
    )
    async def test_a_url(
        self, gateway: Gateway, files: str, path: str, status: int, code: str, says: str
    ) -> None:
        answer = await gateway.ask(body={"prompt": f"{files}/{path}"})
        found = refused(answer, status, code, says)
        assert found["location"] == "prompt"

    async def test_an_address_that_may_not_be_reached(self, gateway: Gateway) -> None:
        answer = await convert(gateway, "http://169.254.169.254/latest/meta-data/")
        assert refused(answer, 400, "input_not_fetched")["location"] == "prompt"

    @pytest.mark.parametrize(
        ("prompt", "status", "code", "says"),
        [
            ("", 422, "invalid_request", "prompt is empty"),
            ("  \n", 422, "invalid_request", "prompt is empty"),
            ("my_workflow.json", 400, "invalid_input", "neither JSON, nor a URL"),
            ("ftp://host/workflow.json", 400, "invalid_input", "neither JSON, nor a URL"),
            ("Zm9v", 400, "invalid_input", "neither JSON nor of a type"),
            ("data:image/png;base64,#", 400, "invalid_input", "not valid base64"),
            ("data:image/png;base64,", 400, "invalid_input", "it is empty"),
            ("{", 400, "invalid_json", "is not JSON"),
            ("[1]", 400, "invalid_input", "no object"),
            ("{}", 422, "invalid_request", "prompt is empty"),
            ('{"1": NaN}', 422, "invalid_request", "prompt.1 is not a node"),
            (base64_of(png()), 400, "invalid_input", "strip it"),
            (base64_of(saved(prompt="{broken", workflow="[]")), 400, "invalid_input", "strip it"),
            (base64_of(saved(prompt="5")), 400, "invalid_input", "strip it"),
            (base64_of(saved(prompt='{"a": 5}')), 422, "invalid_request", "prompt.a"),
            ('{"a": ' * 70 + "1" + "}" * 70, 400, "invalid_json", "MAX_JSON_DEPTH"),
            ('{"a": ' * 5000 + "1" + "}" * 5000, 400, "invalid_json", "is not JSON"),
            (
                base64_of(saved(workflow='{"nodes": ' + "[" * 300 + "]" * 300 + "}")),
                *(400, "invalid_json", "MAX_JSON_DEPTH"),
            ),
            (
                base64_of(saved(workflow='{"nodes": ' + "[" * 90_000 + "]" * 90_000 + "}")),
                *(400, "invalid_input", "strip it"),
            ),
            (
                # Half a character, which no answer could hold.
                base64_of(saved(prompt='{"1": {"class_type": "\\ud800", "inputs": {}}}')),
                *(422, "invalid_graph", "does not exist"),
            ),
            (5, 422, "invalid_request", "a workflow is an object, or a string"),
            ([], 422, "invalid_request", "a workflow is an object, or a string"),
        ],
        ids=lambda value: str(value)[:24],
    )
    async def test_a_value(
        self, gateway: Gateway, prompt: Any, status: int, code: str, says: str
    ) -> None:
        for path in ("/prompt", "/convert"):
            if (path, code) != ("/convert", "invalid_graph"):
                answer = await gateway.ask(path, {"prompt": prompt})
                found = refused(answer, status, code, says)
                assert found["location"].startswith("prompt")

    @pytest.mark.parametrize(
        ("raw", "headers", "status", "code", "says"),
        [
            (png(), {"Content-Type": "image/png"}, 400, "invalid_input", "strip it"),
            (b"nothing", {"Content-Type": "image/png"}, 400, "invalid_input", "neither JSON"),
            (b"", {"Content-Type": "image/png"}, 400, "invalid_json", "not JSON"),
            (b"nothing", {}, 400, "invalid_json", "not JSON"),
            (form(("prompt", "{}"), ("prompt", "{}")), FORM, 422, "invalid_request", "two parts"),
            (form(("id", "x")), FORM, 422, "invalid_request", "prompt"),
            (form(("prompt", "")), FORM, 422, "invalid_request", "prompt is empty"),
            (form(("prompt", b"")), FORM, 422, "invalid_request", "prompt"),
            (form(("prompt", "{"), ("id", "x")), FORM, 422, "invalid_request", "holds JSON"),
            (form(("image", png()), name="a.png"), FORM, 422, "invalid_request", "takes a file"),
            (form(("prompt", b"x" * 1_100_000)), FORM, 413, "body_too_large", "MAX_BODY_SIZE_MB"),
            (form(("prompt", "{}"))[:-14], FORM, 422, "invalid_request", "cut off"),
            (b"\x89PNG\r\n\x1a\n" * 150_000, {}, 413, "body_too_large", "MAX_BODY_SIZE_MB"),
        ],
        ids=lambda value: str(value)[:24],
    )
    async def test_a_body(
        self,
        gateway: Gateway,
        raw: bytes,
        headers: Mapping[str, str],
        status: int,
        code: str,
        says: str,
    ) -> None:
        for path in ("/prompt", "/convert"):
            refused(await gateway.ask(path, raw=raw, headers=headers), status, code, says)

    async def test_a_canvas_of_a_custom_node_that_is_missing(self, gateway: Gateway) -> None:
        unknown = {"type": "FancySampler", "title": "Mine", "properties": {"cnr_id": "fancy-pack"}}
        for path in ("/prompt", "/convert"):
            answer = await gateway.ask(path, {"prompt": canvas(**unknown)})
            found = refused(answer, 422, "not_convertible", "fancy-pack", "the embedded engine")
            assert found["location"] == "prompt"
            (node,) = found["nodes"]
            assert (node["id"], node["title"], node["class_type"]) == ("1", "Mine", "FancySampler")
            assert node["custom_node"] == "fancy-pack"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"nodes": []},
            {"nodes": [None, 5, {}]},
            {"nodes": [{"id": 1, "type": 5, "mode": []}], "links": [1, [2], None]},
            {**canvas(), "links": {"a": 1}},
            {**canvas(), "definitions": {"subgraphs": [{"id": "x"}]}, "extra": 5},
        ],
    )
    async def test_a_canvas_that_is_none(self, gateway: Gateway, wrong: Any) -> None:
        for path in ("/prompt", "/convert"):
            answer = await gateway.ask(path, {"prompt": wrong})
            assert answer.status < 500, answer.raw

    async def test_a_canvas_that_amounts_to_too_much(self, gateway: Gateway) -> None:
        name = "6f1a52c0-3c0f-4f3e-9e2f-000000000001"
        many = [{"id": number, "type": name} for number in range(20)]
        inner = {"id": name, "nodes": canvas(title="x" * 100_000)["nodes"], "links": []}
        wrong = {"nodes": many, "links": [], "definitions": {"subgraphs": [inner]}}
        for path in ("/prompt", "/convert"):
            answer = await gateway.ask(path, {"prompt": wrong})
            refused(answer, 422, "not_convertible", "MAX_BODY_SIZE_MB", "as often as")


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
