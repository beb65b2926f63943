"""Wrong requests to named workflows: each answer says what to change."""

from __future__ import annotations

import base64
import http.client
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance import named
from tests.acceptance.conftest import Gateway, png, refused
from tests.waiting import wait_until

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return named.write(tmp_path_factory.mktemp("workflows"))


@pytest.fixture(scope="module")
def gateway(start: Callable[..., Any], folder: Path) -> Iterator[Gateway]:
    (folder / "broken.json").write_text('{"1": {')
    limits = {"MAX_INPUT_MB": "1", "MAX_PIXELS": "10000", "STRICT_REQUESTS": "true"}
    with start(WORKFLOW_DIR=str(folder), API_KEYS="me:secret", **limits) as found:
        found.headers["X-API-Key"] = "secret"
        yield found


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


class TestName:
    @pytest.mark.parametrize(
        ("path", "says"),
        [
            ("/workflow/colour", ["'colour'", "color"]),
            ("/workflow/portrait", ["people/portrait"]),
            ("/workflow/color/", ["'color/'"]),
            ("/workflow/people", ["'people'"]),
            ("/workflow/color.json", ["color"]),
            ("/workflow/%00", ["GET /workflows"]),
            (f"/workflow/{'x' * 2000}", ["GET /workflows"]),
        ],
    )
    async def test_one_that_is_not_there(
        self, gateway: Gateway, path: str, says: list[str]
    ) -> None:
        refused(await gateway.ask(path, {}), 404, "workflow_not_found", *says)
        refused(await gateway.ask(path), 404, "workflow_not_found", *says)

    @pytest.mark.parametrize("path", ["../../etc/passwd", "people/../color", "..%2f..%2fcolor"])
    def test_no_path_leads_out(self, gateway: Gateway, path: str) -> None:
        # As it is written: clients of a better sort resolve the dots themselves.
        place = urlsplit(gateway.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        connection.request("POST", f"/workflow/{path}", "{}", gateway.headers)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (404, "workflow_not_found")
        connection.close()

    async def test_one_that_is_broken(self, gateway: Gateway) -> None:
        refused(await gateway.ask("/workflow/broken", {}), 503, "workflow_broken", "broken.json")
        found = (await gateway.ask("/workflow/broken")).json
        assert (found["available"], found["prompt"]) == (False, None)
        wrong = found["mistakes"][0]
        assert (wrong["file"], wrong["line"]) == ("broken.json", 1)

    async def test_one_whose_preset_is_gone(self, gateway: Gateway, folder: Path) -> None:
        presets = folder / "presets.yaml"
        presets.write_text("own: {steps: 4}\n")
        graph = {**named.WORKFLOWS["drawn"][0]}
        graph["3"] = {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 7}}
        named.write(folder, {"preset": (graph, "preset: own\n")})
        address = "/workflow/preset?dry_run=true"

        async def is_good() -> bool:
            return (await gateway.ask(address, {})).status == 200

        async def is_bad() -> bool:
            return not await is_good()

        await wait_until(is_good, description="it is in service")
        steps = []
        for body in ({}, {"preset": "draft"}, {"preset": None}):
            answer = await gateway.ask(address, body)
            steps.append(answer.json["prompt"]["3"]["inputs"]["steps"])
        assert steps == [4, 10, 7]

        presets.unlink()
        await wait_until(is_bad, description="its preset is gone")
        refused(await gateway.ask(address, {}), 503, "workflow_broken", "'own'")
        assert (await gateway.ask(address, {"preset": "draft"})).status == 200

    @pytest.mark.parametrize(
        "path", ["/workflow/color", "/workflows", "/tryon", "/generate", "/tasks/a"]
    )
    async def test_without_a_key(self, gateway: Gateway, path: str) -> None:
        body = None if path in ("/workflows", "/tasks/a") else {}
        headers = {"X-API-Key": "wrong"}
        refused(await gateway.ask(path, body, headers=headers), 401, "unauthorized")


class TestValues:
    async def test_every_one_at_once(self, gateway: Gateway) -> None:
        given = {"side": "20", "color": -1, "name": 7, "kind": "Plane", "sied": 8}
        answer = await gateway.ask("/workflow/color", {"input": given})
        told = refused(answer, 422, "invalid_parameters", "and 4 more")
        assert told["location"] == "input.side"
        found = {one["parameter"]: one for one in told["errors"]}
        assert list(found) == ["side", "color", "name", "kind", "sied"]
        assert found["side"]["given"] == "20"
        assert "write 20 without quotes" in found["side"]["message"]
        assert "from 0 to 16777215" in found["color"]["allowed"]
        assert "not text" in found["name"]["message"]
        assert found["kind"]["allowed"] == "one of plain, odd"
        assert "did you mean side" in found["sied"]["message"]

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            (0, "less than 1"),
            (65, "more than 64"),
            (8.5, "not an integer"),
            (True, "true"),
            (None, "null"),
            ([8], "a list"),
            ({"a": 1}, "an object"),
            (2**64, "64 bits"),
            ("8", "without quotes"),
        ],
    )
    async def test_an_integer_that_is_none(self, gateway: Gateway, value: Any, says: str) -> None:
        answer = await gateway.ask("/workflow/color", {"input": {"side": value}})
        refused(answer, 422, "invalid_parameters", "side", says)

    async def test_numbers_that_json_does_not_have(self, gateway: Gateway) -> None:
        for number in (math.nan, math.inf):
            answer = await gateway.ask("/workflow/color", {"input": {"side": number}})
            refused(answer, 400, "invalid_json", '"input"')

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ("a cat", ["no file", "'a cat'"]),
            ("../secret.png", ["leaves its folder"]),
            ("/etc/passwd", ["absolute path"]),
            (encoded(b"just some text, long enough"), ["no file", "base64"]),
            ("data:image/png;base64,####", ["not valid base64"]),
            (f"data:image/png;base64,{encoded(b'plain text' * 9)}", ["no known type"]),
            (encoded(WAV), ["not an image", "audio/wav"]),
            (encoded(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), ["image/svg+xml", "PNG"]),
            (encoded(b"\x89PNG\r\n\x1a\n" + bytes(40)), ["header"]),
            (encoded(png((200, 100))), ["MAX_PIXELS"]),
            (encoded(png() + bytes(1 << 20)), ["MAX_INPUT_MB"]),
            ("http://169.254.169.254/latest", ["169.254.169.254"]),
            ("http://me:sesame@169.254.169.254/latest", ["http://169.254.169.254/latest"]),
            ("gopher://host/a.png", ["begins with http://"]),
            (" ", ["empty"]),
            (7, ["not text"]),
        ],
    )
    async def test_a_picture_that_is_none(
        self, gateway: Gateway, value: Any, says: list[str]
    ) -> None:
        # What is wrong beside it is told with it.
        given = {"photo": value, "name": 7}
        answer = await gateway.ask("/workflow/photo", {"input": given})
        told = refused(answer, 422, "invalid_parameters")
        assert [one["parameter"] for one in told["errors"]] == ["photo", "name"]
        for text in says:
            assert text in told["errors"][0]["message"]
        assert b"sesame" not in answer.raw

    async def test_one_that_is_missing(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/photo", {"input": {}})
        refused(answer, 422, "invalid_parameters", "photo: it is required")

    async def test_what_comfyui_would_refuse_is_told_of_the_parameter(
        self, gateway: Gateway
    ) -> None:
        answer = await gateway.ask("/workflow/photo", {"input": {"photo": encoded(png())}})
        assert answer.status == 200
        given = {"photo": encoded(png()), "name": "../out"}
        answer = await gateway.ask("/workflow/photo", {"input": given})
        told = refused(answer, 400, "invalid_input", "'../out'", "leaves the output folder")
        assert told["location"] == "input.name"


class TestBody:
    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({"prompt": "a cat"}, ["`input`", "/prompt"]),
            ({"prompt": {"1": {}}}, ["`input`", "/prompt"]),
            ({"side": 8}, ["side", '{"input": {"side": ...}}']),
            ({"params": {"side": 8}}, ["params", '{"input": {...}}']),
            ({"more": 1}, ["more"]),
            ({"input": []}, ["input"]),
            ({"input": None}, ["input"]),
            ([], ["list", '"input"']),
            ("text", ["a text"]),
            ({"id": "a b"}, ["id"]),
            ({"loras": [{"name": "a", "strength": 1e9}]}, ["loras.0.strength", "100"]),
            ({"loras": [{"strength": 1}]}, ["name or url"]),
        ],
    )
    async def test_what_is_no_request(self, gateway: Gateway, body: Any, says: list[str]) -> None:
        refused(await gateway.ask("/workflow/color", body), 422, "invalid_request", *says)

    async def test_presets_and_loras(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color", {"preset": "ultr"})
        refused(answer, 422, "unknown_preset", "'ultr'", "ultra")
        answer = await gateway.ask("/workflow/color", {"preset": "ultra"})
        refused(answer, 422, "preset_refused", "sampler")
        answer = await gateway.ask("/workflow/color", {"loras": [{"name": "nowhere"}]})
        told = refused(answer, 422, "unknown_lora", "'nowhere'", "GET /loras")
        assert told["location"] == "loras.0.name"
        answer = await gateway.ask("/workflow/color", {"lora_preset": "mine"})
        refused(answer, 422, "unknown_preset", "'mine'")

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({"side": 8}, ["side", '{"params": {"side": ...}}']),
            ({"input": {"side": 8}}, ["input", '{"params": {...}}']),
            ({"prompt": "a cat"}, ["prompt", "`params`"]),
            ({"params": []}, ["params"]),
        ],
    )
    async def test_what_is_no_task(
        self, gateway: Gateway, body: dict[str, Any], says: list[str]
    ) -> None:
        answer = await gateway.ask("/generate", {"workflow_id": "color", **body})
        refused(answer, 422, "invalid_request", *says)

    async def test_no_json(self, gateway: Gateway) -> None:
        for raw in (b"", b"{", b"side=8"):
            answer = await gateway.ask("/workflow/color", raw=raw, method="POST")
            refused(answer, 400, "invalid_json", '{"input"')

    async def test_a_method_that_is_not_taken(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color", method="DELETE")
        refused(answer, 405, "method_not_allowed", "GET, POST")
