"""Named workflows by form: files and texts in, and what is told of a form that is wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import named
from tests.acceptance.conftest import Gateway, png, refused
from tests.acceptance.graphs import picture_of

_MB = 1 << 20


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def gateway(
    start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, inputs: Path
) -> Iterator[Gateway]:
    folder = named.write(tmp_path_factory.mktemp("workflows"))
    limits = {"MAX_BODY_SIZE_MB": "2", "MAX_INPUT_MB": "1", "MAX_PIXELS": "10000"}
    with start(WORKFLOW_DIR=str(folder), INPUT_DIR=str(inputs), **limits) as found:
        yield found


def multipart(*parts: str, boundary: str = "edge", end: str = "--edge--\r\n") -> bytes:
    """A form as it stands on the wire; each part is its headers, a blank line, its content."""
    return ("".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + end).encode()


def text_part(name: str, text: str, more: str = "") -> str:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n{text}'


HEADERS = {"Content-Type": "multipart/form-data; boundary=edge"}


class TestForm:
    async def test_files_and_texts(self, gateway: Gateway) -> None:
        answer = await named.submit(
            gateway, "/workflow/photo", ("photo", png((5, 7)), "me.png"), name="given"
        )
        assert picture_of(answer).size == (5, 7)
        assert answer.json["input"]["name"] == "given"
        assert answer.json["filenames"][0].endswith("_given_00001_.png")

    async def test_texts_are_read_by_type(self, gateway: Gateway) -> None:
        answer = await named.submit(gateway, "/workflow/color", side="16", color="", name="")
        assert picture_of(answer).size == (16, 16)
        assert answer.json["input"] == {"side": 16, "color": 255, "name": "", "kind": "plain"}

    async def test_fields_of_a_request(self, gateway: Gateway) -> None:
        answer = await named.submit(
            gateway,
            "/workflow/color",
            id="form-1",
            convert_output='{"format": "webp"}',
            metadata='{"order": 7}',
            priority="5",
            input='{"side": 32}',
        )
        found = answer.json
        assert (found["id"], found["metadata"], found["priority"]) == ("form-1", {"order": 7}, 5)
        assert (found["outputs"][0]["content_type"], found["input"]["side"]) == ("image/webp", 32)

    async def test_a_parameter_wins_over_a_field_of_its_name(self, gateway: Gateway) -> None:
        answer = await named.submit(gateway, "/workflow/fields", id="7", input="given")
        assert answer.json["input"] == {"id": 7, "input": "given"}
        assert answer.json["id"] != "7"

    async def test_without_files_it_may_be_urlencoded(self, gateway: Gateway) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        raw = b"side=16&name=a+b%20c%C3%BC"
        answer = await gateway.ask("/workflow/color", raw=raw, headers=headers)
        assert (answer.json["input"]["side"], answer.json["input"]["name"]) == (16, "a b cü")
        answer = await gateway.ask("/workflow/color", raw=b'{"input": {}}', headers=headers)
        refused(answer, 422, "invalid_request", "application/json")

    async def test_base64_as_text_is_a_picture_too(self, gateway: Gateway) -> None:
        encoded = base64.b64encode(png((5, 7))).decode()
        answer = await named.submit(gateway, "/workflow/photo", photo=encoded)
        assert picture_of(answer).size == (5, 7)

    async def test_a_part_in_base64(self, gateway: Gateway) -> None:
        encoded = base64.b64encode(png((5, 7))).decode()
        more = '; filename="a.png"\r\nContent-Transfer-Encoding: base64'
        raw = multipart(text_part("photo", encoded, more))
        answer = await gateway.ask("/workflow/photo", raw=raw, headers=HEADERS)
        assert picture_of(answer).size == (5, 7)

    async def test_a_file_that_was_not_chosen(self, gateway: Gateway) -> None:
        answer = await named.submit(gateway, "/workflow/photo", ("photo", b"", ""))
        told = refused(answer, 422, "invalid_parameters", "photo", "required")
        assert len(told["errors"]) == 1

    async def test_one_id_is_one_form(self, gateway: Gateway) -> None:
        def sent(picture: bytes, name: str) -> Any:
            parts = ("photo", picture, name)
            return named.submit(gateway, "/workflow/photo", parts, id="once")

        first, second = await sent(png((5, 7)), "a.png"), await sent(png((5, 7)), "b.png")
        assert first.json["images"] == second.json["images"]
        refused(await sent(png((7, 5)), "a.png"), 409, "id_taken", "once")

    async def test_one_idempotency_key_is_one_form(self, gateway: Gateway) -> None:
        headers = {**HEADERS, "Idempotency-Key": "order-7"}
        raw, other = (multipart(text_part("side", side)) for side in ("8", "16"))
        first = await gateway.ask("/workflow/color", raw=raw, headers=headers)
        second = await gateway.ask("/workflow/color", raw=raw, headers=headers)
        assert first.json["id"] == second.json["id"]
        answer = await gateway.ask("/workflow/color", raw=other, headers=headers)
        refused(answer, 409, "id_taken", "Idempotency-Key")

    async def test_without_waiting_and_raw(self, gateway: Gateway) -> None:
        answer = await named.submit(gateway, "/workflow/color?format=webp", side="16")
        assert answer.headers["Content-Type"] == "image/webp"
        answer = await named.submit(gateway, "/workflow/color?dry_run=1", side="16")
        assert answer.json["input"]["side"] == 16


class TestWrongForm:
    async def test_all_that_is_wrong_at_once(self, gateway: Gateway, inputs: Path) -> None:
        answer = await named.submit(
            gateway,
            "/workflow/photo",
            ("photo", b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(64), "a.png"),
            ("name", b"text", "name.txt"),
            ("phto", png(), "b.png"),
            ("id", b"text", "id.txt"),
            size="9",
        )
        told = refused(answer, 422, "invalid_parameters")
        found = {one["parameter"]: one["message"] for one in told["errors"]}
        assert found.keys() == {"photo", "name", "phto", "id", "size"}
        assert "audio/wav" in found["photo"]
        assert "takes no file" in found["name"]
        assert "no such parameter" in found["phto"]
        assert "without a filename" in found["id"]
        assert "no such parameter" in found["size"]

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", ["empty"]),
            (b"just some text, long enough", ["no known type"]),
            (b"<html><body>Log in</body></html>", ["HTML"]),
            (b"\x89PNG\r\n\x1a\n" + bytes(40), ["header"]),
            (png((200, 100)), ["200 x 100", "MAX_PIXELS"]),
            (png() + bytes(_MB), ["MAX_INPUT_MB"]),
        ],
    )
    async def test_a_file_that_is_no_picture(
        self, gateway: Gateway, content: bytes, says: list[str]
    ) -> None:
        answer = await named.submit(gateway, "/workflow/photo", ("photo", content, "a.png"))
        told = refused(answer, 422, "invalid_parameters", "photo")
        assert (told["location"], told["errors"][0]["given"]) == ("input.photo", "a file 'a.png'")
        for text in says:
            assert text in answer.told

    @pytest.mark.parametrize(
        ("raw", "headers", "says"),
        [
            (b"x", {"Content-Type": "multipart/form-data"}, ["boundary"]),
            (multipart(text_part("side", "8"), end=""), HEADERS, ["cut off"]),
            (b"", HEADERS, ["cut off"]),
            (b"no form at all", HEADERS, ["cut off"]),
            (
                multipart(text_part("side", "8"), text_part("side", "9")),
                HEADERS,
                ["two parts", "'side'"],
            ),
            (multipart("Content-Type: text/plain\r\n\r\n8"), HEADERS, ["Part 1", "no name"]),
            (multipart(text_part("convert_output", "webp")), HEADERS, ["JSON", '"format"']),
            (multipart(text_part("priority", "high")), HEADERS, ["priority", "JSON"]),
            (multipart(text_part("input", "[1]")), HEADERS, ["input", "object"]),
            (
                multipart(text_part("side", "8"), text_part("input", '{"side": 8}')),
                HEADERS,
                ["side", "twice"],
            ),
            (
                multipart(text_part("a", "8", "\r\nContent-Type: text/plain; charset=odd")),
                HEADERS,
                ["UTF-8"],
            ),
            (
                multipart(text_part("a", "8", "\r\nContent-Type: multipart/mixed; boundary=b")),
                HEADERS,
                ["multipart itself"],
            ),
            (
                multipart(*(text_part(f"p{number}", "1") for number in range(300))),
                HEADERS,
                ["more than 256 parts"],
            ),
        ],
    )
    async def test_what_is_no_form(
        self, gateway: Gateway, raw: bytes, headers: dict[str, str], says: list[str]
    ) -> None:
        answer = await gateway.ask("/workflow/color", raw=raw, method="POST", headers=headers)
        refused(answer, 422, "invalid_request", *says)

    @pytest.mark.parametrize("text", ["20.5", "high", "1e3", "NaN", "0x10", "1" * 500])
    async def test_text_that_is_no_integer(self, gateway: Gateway, text: str) -> None:
        answer = await named.submit(gateway, "/workflow/color", side=text)
        told = refused(answer, 422, "invalid_parameters", "side", "from 1 to 64")
        assert told["errors"][0]["parameter"] == "side"

    async def test_too_large_a_form(self, gateway: Gateway, inputs: Path) -> None:
        before = len(list(inputs.iterdir()))
        answer = await named.submit(
            gateway, "/workflow/photo", ("photo", png() + bytes(3 * _MB), "a.png")
        )
        refused(answer, 413, "body_too_large", "MAX_BODY_SIZE_MB", "by URL")

        async def pieces() -> Any:
            yield multipart(text_part("name", "a"), end="")
            for _ in range(40):
                yield multipart(text_part("photo", "x" * 100_000), end="")

        raw = b"".join([piece async for piece in pieces()])
        answer = await gateway.ask("/workflow/photo", raw=raw, headers=HEADERS)
        refused(answer, 413, "body_too_large", "MAX_BODY_SIZE_MB")
        assert len(list(inputs.iterdir())) == before

    async def test_strict_or_not_what_is_unknown_is_told(self, gateway: Gateway) -> None:
        answer = await named.submit(gateway, "/workflow/color", sied="16")
        refused(answer, 422, "invalid_parameters", "sied", "did you mean side")

    async def test_half_a_character(self, gateway: Gateway) -> None:
        raw = (
            b'--edge\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\xfe\r\n--edge--\r\n'
        )
        answer = await gateway.ask("/workflow/color", raw=raw, headers=HEADERS)
        refused(answer, 422, "invalid_request", "UTF-8")

    @pytest.mark.parametrize(
        ("head", "body"),
        [
            (b'name="name"\r\nContent-Type: text/plain; charset=utf-7', b"+2AA-"),
            (b'name="name"\r\nContent-Type: text/plain; charset=undefined', b"a"),
            (b'name="na\xe9"', b"a"),
            (b'name="na\xe9"; filename="a.png"', b"a"),
        ],
    )
    async def test_half_a_character_in_other_words(
        self, gateway: Gateway, head: bytes, body: bytes
    ) -> None:
        raw = b"--edge\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body
        raw += b"\r\n--edge--\r\n"
        answer = await gateway.ask("/workflow/color", raw=raw, headers=HEADERS)
        refused(answer, 422, "invalid_request", "UTF-8")

    async def test_json_that_is_none(self, gateway: Gateway) -> None:
        answer = await gateway.ask("/workflow/color", raw=b"side=16")
        refused(answer, 400, "invalid_json", '"input"')
        answer = await gateway.ask("/workflow/color", json.loads("[1]"))
        refused(answer, 422, "invalid_request", "list", '"input"')
