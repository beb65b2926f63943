"""What is no workflow, whatever it comes in, is refused with what to send instead."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image

from tests.acceptance.canvases import FORM, base64_of, canvas, convert, files, form, saved
from tests.acceptance.conftest import Gateway, png, refused

__all__ = ["files"]


def _file(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, kind)
    return file.getvalue()


def _damaged(kind: str) -> tuple[bytes, dict[str, str]]:
    """Return a file as `curl -d` sends it."""
    raw = _file(kind).translate(None, b"\r\n\0")
    return raw, {"Content-Type": "application/x-www-form-urlencoded"}


def _replaced(kind: str) -> tuple[bytes, dict[str, str]]:
    """Return a file as programs send it that take it for text."""
    return _file(kind).decode(errors="replace").encode(), {}


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "status", "code", "says"),
        [
            ("missing.json", 400, "input_not_fetched", "404"),
            ("bare.png", 400, "invalid_input", "strip it"),
            ("page.png", 400, "invalid_input", "web page"),
            ("empty.json", 400, "invalid_input", "it is empty"),
            ("list.json", 400, "invalid_input", "a list"),
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
            ("[1]", 400, "invalid_input", "a list"),
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
            (b"nothing", {}, 400, "invalid_json", "it is text that begins with 'nothing'"),
            (b"nothing", {}, 400, "invalid_json", "curl -F prompt=@FILE"),
            (*_damaged("PNG"), 400, "invalid_json", "looks like a PNG that was sent as text"),
            (*_damaged("JPEG"), 400, "invalid_json", "looks like a JPEG"),
            (*_damaged("WebP"), 400, "invalid_json", "looks like a WebP"),
            (*_replaced("PNG"), 400, "invalid_json", "looks like a PNG"),
            (*_replaced("JPEG"), 400, "invalid_json", "looks like a JPEG"),
            (*_replaced("WebP"), 400, "invalid_json", "--data-binary @FILE"),
            (b"<!doctype html><html>", {}, 400, "invalid_json", "a web page"),
            (b"PK\x03\x04\x14\x00", {}, 400, "invalid_json", "an archive"),
            (b"https://host/a.png", {}, 400, "invalid_json", '{"prompt": "https://..."}'),
            (base64.b64encode(png()), {}, 400, "invalid_json", "base64 of a file"),
            (b"data:image/png;base64,AAAA", {}, 400, "invalid_json", "a data URL"),
            (b"prompt=@a.png", {}, 400, "invalid_json", "looks like a form"),
            (b'{"1": {', {}, 400, "invalid_json", "line 1"),
            (b"[1, 2, 3]", {}, 422, "invalid_request", "a list"),
            (b'{"name": "a", "version": "1"}', {}, 422, "invalid_request", "is no workflow"),
            (b'{"workflow": {"name": "a"}}', {}, 422, "invalid_request", "is no workflow"),
            (b'{"id": "a"}', {}, 422, "invalid_request", "prompt"),
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

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"nodes": []}, "has no nodes"),
            ({"nodes": [{**one, "mode": 2} for one in canvas()["nodes"]]}, "all 2 are muted"),
            ({"nodes": [{"id": 1, "type": "Note", "widgets_values": ["a"]}]}, "or a note"),
        ],
        ids=["empty", "muted", "note"],
    )
    async def test_a_canvas_of_which_nothing_runs(
        self, gateway: Gateway, wrong: Any, says: str
    ) -> None:
        for path in ("/prompt", "/convert"):
            answer = await gateway.ask(path, {"prompt": wrong})
            assert refused(answer, 422, "invalid_request", says)["location"] == "prompt"

    async def test_a_canvas_that_amounts_to_too_much(self, gateway: Gateway) -> None:
        name = "6f1a52c0-3c0f-4f3e-9e2f-000000000001"
        many = [{"id": number, "type": name} for number in range(20)]
        inner = {"id": name, "nodes": canvas(title="x" * 100_000)["nodes"], "links": []}
        wrong = {"nodes": many, "links": [], "definitions": {"subgraphs": [inner]}}
        for path in ("/prompt", "/convert"):
            answer = await gateway.ask(path, {"prompt": wrong})
            refused(answer, 422, "not_convertible", "MAX_BODY_SIZE_MB", "as often as")
