"""Every bad input gets an answer that says what to change, and good input beside it still works."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import gzip
import io
import json
import struct
import sys
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.acceptance.conftest import Answer, Gateway, png

Graph = dict[str, Any]


def empty_image(prefix: Any = "picture", **inputs: Any) -> Graph:
    """Return a graph of an 8 x 4 green picture, saved."""
    size = {"width": 8, "height": 4, "batch_size": 1, "color": 0x00FF00}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, **inputs}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def load_image(image: Any) -> Graph:
    """Return a graph that saves a given picture."""
    graph = empty_image()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": image}}
    return graph


def picture_of(answer: Answer, index: int = 0) -> Image.Image:
    """Return a picture of a 200."""
    assert answer.status == 200, answer.raw[:2000]
    return Image.open(io.BytesIO(base64.b64decode(answer.json["images"][index])))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, pixels: bytes = b"") -> bytes:
    """Return a PNG of any size, whose pixels need not be there."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def refused(answer: Answer, status: int, code: str, *says: str) -> dict[str, Any]:
    """Check a refusal, and that its sentence and hint name all of `says`; return it."""
    found = answer.json
    assert (answer.status, found["code"]) == (status, code), found
    for text in says:
        assert text in answer.told
    return found


def nested(depth: int) -> bytes:
    return b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("raw", "status", "code", "says"),
    [
        (b"", 400, "invalid_json", "prompt"),
        (b"{not json", 400, "invalid_json", "prompt"),
        (b'{"prompt": NaN}', 400, "invalid_json", "not JSON"),
        (b'{"prompt": "\xff"}', 400, "invalid_json", "not JSON"),
        (b'{"prompt": {"\\ud800": {}}}', 400, "invalid_json", "not JSON"),
        (nested(100), 400, "invalid_json", "MAX_JSON_DEPTH"),
        (nested(100_000), 400, "invalid_json", "not JSON"),
        (b"[]", 422, "invalid_request", "list, not an object"),
        (b"null", 422, "invalid_request", "null, not an object"),
        (b"5", 422, "invalid_request", "int, not an object"),
        (b'"text"', 422, "invalid_request", "not an object"),
        (b"{}", 422, "invalid_request", "prompt"),
        (b'{"prompt": []}', 422, "invalid_request", "prompt"),
        (b'{"prompt": null}', 422, "invalid_request", "prompt"),
        (b'{"prompt": 5}', 422, "invalid_request", "prompt"),
        (b'{"prompt": {}}', 422, "invalid_request", "prompt is empty"),
        (b'{"prompt": {"1": null}}', 422, "invalid_request", "class_type, inputs"),
        (b'{"prompt": {"1": {"inputs": {}}}}', 422, "invalid_graph", "class_type"),
        (
            b'{"prompt": {"1": {"class_type": "SaveImage", "inputs": []}}}',
            *(422, "invalid_request", "prompt.1.inputs"),
        ),
        (b'{"nodes": [], "links": []}', 422, "ui_workflow", "Export (API)"),
        (b'{"prompt": {"nodes": [], "links": []}}', 422, "ui_workflow", "Export (API)"),
        (b'{"prompt": "' + b"x" * 1_100_000 + b'"}', 413, "body_too_large", "MAX_BODY_SIZE_MB"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_body_of_the_wrong_shape(
    gateway: Gateway, raw: bytes, status: int, code: str, says: str
) -> None:
    refused(await gateway.ask(raw=raw), status, code, says)


@pytest.mark.parametrize(("packed", "status"), [(True, 200), (False, 400)])
async def test_a_body_that_calls_itself_packed(gateway: Gateway, packed: bool, status: int) -> None:
    raw = json.dumps({"prompt": empty_image()}).encode()
    answer = await gateway.ask(
        raw=gzip.compress(raw) if packed else raw, headers={"Content-Encoding": "gzip"}
    )
    assert answer.status == status
    if not packed:
        refused(answer, 400, "invalid_json", "Content-Encoding")


async def test_a_packed_body_that_unpacks_to_more_than_the_limit(gateway: Gateway) -> None:
    raw = gzip.compress(b'{"prompt": "' + b"x" * 20_000_000 + b'"}')
    answer = await gateway.ask(raw=raw, headers={"Content-Encoding": "gzip"})
    refused(answer, 413, "body_too_large", "MAX_BODY_SIZE_MB")


async def test_the_deepest_nesting_that_can_be_allowed(start: Callable[..., Any]) -> None:
    deep: dict[str, Any] = {}
    for _ in range(190):
        deep = {"x": deep}
    with start(MAX_JSON_DEPTH="200") as found:
        answer = await found.ask(body={"prompt": empty_image(), "metadata": deep})
        assert picture_of(answer).size == (8, 4)
        assert answer.json["metadata"] == deep


def unknown_class(graph: Graph) -> None:
    graph["1"]["class_type"] = "EmptyImag"


def class_unlike_any(graph: Graph) -> None:
    graph["1"]["class_type"] = "Qqqqqqqqqqqqqq"


def missing_input(graph: Graph) -> None:
    del graph["2"]["inputs"]["images"]


def missing_node(graph: Graph) -> None:
    graph["2"]["inputs"]["images"] = ["9", 0]


def missing_output(graph: Graph) -> None:
    graph["2"]["inputs"]["images"] = ["1", 7]


def negative_output(graph: Graph) -> None:
    graph["2"]["inputs"]["images"] = ["1", -1]


def cycle(graph: Graph) -> None:
    graph["2"]["inputs"]["images"] = ["3", 0]
    for here, there in (("3", "4"), ("4", "3")):
        graph[here] = {"class_type": "ImageInvert", "inputs": {"image": [there, 0]}}


def own_cycle(graph: Graph) -> None:
    graph["2"]["inputs"]["images"] = ["3", 0]
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}}


def value_not_in_list(graph: Graph) -> None:
    scale = {"upscale_method": "bicubik", "width": 4, "height": 4, "crop": "disabled"}
    graph["2"]["inputs"]["images"] = ["3", 0]
    graph["3"] = {"class_type": "ImageScale", "inputs": {"image": ["1", 0], **scale}}


def no_such_model(graph: Graph) -> None:
    loader = {"class_type": "VAELoader", "inputs": {"vae_name": "nowhere.safetensors"}}
    latent = {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1},
    }
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["3", 0]}}
    graph |= {"3": loader, "4": latent, "5": decode}
    graph["2"]["inputs"]["images"] = ["5", 0]


def value_too_small(graph: Graph) -> None:
    graph["1"]["inputs"]["width"] = -5


def value_no_number(graph: Graph) -> None:
    graph["1"]["inputs"]["width"] = "wide"


def wrong_type(graph: Graph) -> None:
    graph["3"] = {"class_type": "PrimitiveString", "inputs": {"value": "text"}}
    graph["2"]["inputs"]["images"] = ["3", 0]


@pytest.mark.parametrize(
    ("spoil", "kind", "node", "says"),
    [
        (unknown_class, "invalid_prompt", "1", ["EmptyImag does not exist", "EmptyImage"]),
        (class_unlike_any, "invalid_prompt", "1", ["Install the custom node"]),
        (missing_input, "required_input_missing", "2", ["Node 2 (SaveImage)", "images"]),
        (missing_node, "bad_linked_input", "2", ["'9' is not in the workflow"]),
        (missing_output, "bad_linked_input", "2", ["has 1 outputs", "7 is not one"]),
        (negative_output, "bad_linked_input", "2", ["-1 is not one"]),
        (cycle, "dependency_cycle", "3", ["3 -> 4 -> 3"]),
        (own_cycle, "dependency_cycle", "3", ["3 -> 3"]),
        (value_not_in_list, "value_not_in_list", "3", ["'bicubik' not in", "closest: bicubic"]),
        (no_such_model, "value_not_in_list", "3", ["nowhere.safetensors", "folder 'vae'"]),
        (value_too_small, "value_smaller_than_min", "1", ["width"]),
        (value_no_number, "invalid_input_type", "1", ["width"]),
        (wrong_type, "return_type_mismatch", "2", ["images"]),
    ],
)
async def test_a_graph_that_comfyui_would_refuse(
    gateway: Gateway, spoil: Callable[[Graph], None], kind: str, node: str, says: list[str]
) -> None:
    """The first of its node errors has ComfyUI's own words for it."""
    graph = empty_image()
    spoil(graph)
    found = refused(await gateway.ask(body={"prompt": graph}), 422, "invalid_graph", *says)
    assert found["location"].startswith(f"prompt.{node}")
    assert kind in [error["type"] for error in found["node_errors"][node]["errors"]]
    assert "traceback" not in json.dumps(found)


async def test_a_graph_without_an_output_node(gateway: Gateway) -> None:
    graph = empty_image()
    del graph["2"]
    refused(await gateway.ask(body={"prompt": graph}), 400, "no_output", "filename_prefix")


async def test_one_good_output_is_enough(gateway: Gateway) -> None:
    """The other one is told in node_errors and in a warning, however soon the job is done."""
    graph = empty_image()
    graph["3"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["9", 0], "filename_prefix": "lost"},
    }
    for answer in await asyncio.gather(*(gateway.ask(body={"prompt": graph}) for _ in range(24))):
        assert picture_of(answer).size == (8, 4)
        assert list(answer.json["node_errors"]) == ["3"]
        assert any("node_errors" in warning for warning in answer.json["warnings"])
        assert b"traceback" not in answer.raw


@pytest.mark.parametrize(
    ("value", "status", "code", "says"),
    [
        ("data:image/png;base64,@@@@", 400, "invalid_input", "not valid base64"),
        (f"data:image/png;base64,{encoded(b'words, no picture')}", 400, "invalid_input", "type"),
        (encoded(b"words, and not a picture at all"), 400, "invalid_input", "base64"),
        ("@" * 5000, 400, "invalid_input", "URL"),
        ("", 400, "invalid_input", "empty"),
        ("iVBORw0KGgo", 400, "invalid_input", "base64"),
        (encoded(png_header(50_000, 50_000)), 413, "too_many_pixels", "MAX_PIXELS"),
        (encoded(b"ID3\x04" + bytes(60)), 400, "invalid_input", "no picture: it is audio/mpeg"),
        (encoded(png_header(0, 0)), 400, "invalid_input", "picture"),
        ("../x", 400, "invalid_input", "leaves its folder"),
        ("a/../../x.png", 400, "invalid_input", "leaves its folder"),
        ("/etc/passwd", 400, "invalid_input", "absolute path"),
        ("~/x.png", 400, "invalid_input", "absolute path"),
        ("C:\\x.png", 400, "invalid_input", "absolute path"),
        ("..\\x.png", 400, "invalid_input", "backslash"),
        ("../x.png [output]", 400, "invalid_input", "leaves its folder"),
        ("a\0b.png", 400, "invalid_input", "control characters"),
        ("a\nb.png", 400, "invalid_input", "control characters"),
        ("n" * 5000 + ".png", 400, "invalid_input", "URL"),
        ("n" * 300 + ".png", 400, "invalid_input", "no file"),
        ("nowhere.png", 400, "invalid_input", "no file 'nowhere.png'"),
        ("file:///etc/passwd", 400, "invalid_input", "ALLOWED_FILE_ROOTS"),
        ("http://", 400, "invalid_input", "URL"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_picture_that_is_none(
    gateway: Gateway, value: str, status: int, code: str, says: str
) -> None:
    answer = await gateway.ask(body={"prompt": load_image(value)})
    found = refused(answer, status, code, says)
    assert found["location"] == "prompt.1.inputs.image"


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("/missing.png", 400, "input_not_fetched", "404"),
        ("/closes.png", 400, "input_not_fetched", "host"),
        ("/metadata.png", 400, "input_not_fetched", "ALLOW_PRIVATE_NETWORKS"),
        ("/circle.png", 400, "input_not_fetched", "redirects more than"),
        ("/short.png", 400, "input_not_fetched", "host"),
        ("/long.png", 400, "input_not_fetched", "host"),
        ("/huge.png", 413, "input_too_large", "MAX_INPUT_MB"),
        ("/page.png", 400, "invalid_input", "web page"),
        ("/empty.png", 400, "invalid_input", "empty"),
    ],
)
async def test_a_url_that_gives_no_picture(
    gateway: Gateway, host: str, path: str, status: int, code: str, says: str
) -> None:
    answer = await gateway.ask(body={"prompt": load_image(host + path)})
    found = refused(answer, status, code, says)
    assert found["location"] == "prompt.1.inputs.image"


async def test_a_host_that_never_answers_costs_no_more_than_the_timeout(
    gateway: Gateway, host: str
) -> None:
    body = {"prompt": load_image(f"{host}/hangs.png"), "timeout": 0.5}
    refused(await gateway.ask(body=body), 504, "timeout", "timeout")


@pytest.mark.parametrize("path", ["/red.png", "/moved.png"])
async def test_a_picture_by_url_comes_back_as_it_was(
    gateway: Gateway, host: str, path: str
) -> None:
    answer = await gateway.ask(body={"prompt": load_image(host + path)})
    shown = picture_of(answer)
    assert (shown.size, shown.getpixel((1, 1))) == ((3, 2), (255, 0, 0))


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "data:;base64,"])
async def test_a_picture_by_base64_comes_back_as_it_was(gateway: Gateway, head: str) -> None:
    answer = await gateway.ask(body={"prompt": load_image(head + encoded(png((5, 4), (1, 2, 3))))})
    shown = picture_of(answer)
    assert (shown.size, shown.getpixel((4, 3))) == ((5, 4), (1, 2, 3))


async def test_a_node_that_raises(gateway: Gateway) -> None:
    """The answer names the node and shows its own frames, with file names instead of paths."""
    models = gateway.folder / "model_dir" / "vae"
    models.mkdir(parents=True, exist_ok=True)
    (models / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    graph = empty_image()
    no_such_model(graph)
    graph["3"]["inputs"]["vae_name"] = "cut.safetensors"
    found = refused(
        await gateway.ask(body={"prompt": graph}), 500, "execution_failed", "Node 3 (VAELoader)"
    )
    assert (found["node_id"], found["class_type"]) == ("3", "VAELoader")
    assert found["exception_type"]
    assert found["traceback"]
    assert "/" not in "".join(found["traceback"])


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("../../x", "leaves the output folder"),
        ("a/../../x", "leaves the output folder"),
        ("/tmp/x", "absolute"),
        ("~/x", "absolute"),
        ("C:\\x", "absolute"),
        ("a\\b", "backslash"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x7fb", "control characters"),
        ("p" * 5000, "5000 characters"),
        ("é" * 200, "bytes"),
        ("%date:../../x%/../../y", "leaves the output folder"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_prefix_that_may_not_be(gateway: Gateway, prefix: str, says: str) -> None:
    answer = await gateway.ask(body={"prompt": empty_image(prefix)})
    found = refused(answer, 400, "invalid_input", says, "a/b/name")
    assert found["location"] == "prompt.2.inputs.filename_prefix"


@pytest.mark.parametrize("prefix", ["a/b/c", "a b", "ünï", "a..b", "%width%", "", "x/"])
async def test_a_prefix_that_may_be_returns_its_picture(gateway: Gateway, prefix: str) -> None:
    answer = await gateway.ask(body={"prompt": empty_image(prefix)})
    assert picture_of(answer).getpixel((0, 0)) == (0, 255, 0)
    assert "/" not in answer.json["filenames"][0]


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"id": ""}, "invalid_request", "1 to 128"),
        ({"id": ".."}, "invalid_request", "1 to 128"),
        ({"id": "a/b"}, "invalid_request", "1 to 128"),
        ({"id": "a\n"}, "invalid_request", "1 to 128"),
        ({"id": "a\0b"}, "invalid_request", "1 to 128"),
        ({"id": "x" * 5000}, "invalid_request", "1 to 128"),
        ({"id": 5}, "invalid_request", "id"),
        ({"priority": 101}, "invalid_request", "priority"),
        ({"priority": -101}, "invalid_request", "priority"),
        ({"priority": "high"}, "invalid_request", "priority"),
        ({"timeout": 0}, "invalid_request", "timeout"),
        ({"timeout": -1}, "invalid_request", "timeout"),
        ({"timeout": "soon"}, "invalid_request", "timeout"),
        ({"metadata": {"note": "x" * 4096}}, "invalid_request", "4 KiB"),
        ({"metadata": "note"}, "invalid_request", "metadata"),
        ({"extra_data": []}, "invalid_request", "extra_data"),
        ({"credentials": [{"url_pattern": "**"}]}, "invalid_request", "auth"),
        ({"convert_output": {"format": "bmp"}}, "invalid_request", "webp"),
        (
            {"convert_output": {"format": "jpeg", "options": {"quality": 0}}},
            *("invalid_request", "quality"),
        ),
        (
            {"convert_output": {"format": "webp", "options": {"preset": "no"}}},
            *("invalid_request", "preset"),
        ),
        (
            {"convert_output": {"format": "webp", "options": {"speed": 1}}},
            *("invalid_request", "speed"),
        ),
        ({"convert_output": {"options": {}}}, "invalid_request", "format"),
        ({"webhook": "https://example.org"}, "not_yet_supported", "webhook"),
        ({"webhook_v2": "https://example.org"}, "not_yet_supported", "webhook_v2"),
        ({"s3": {"bucket": "b"}}, "invalid_request", "prefix"),
        ({"gcs": {"bucket": "b", "prefix": "", "presign_s": 0}}, "invalid_request", "presign_s"),
        ({"azure_blob_upload": {"blob_prefix": "c"}}, "invalid_request", "container"),
        ({"hf_upload": {"repo": "r", "repo_type": "space"}}, "invalid_request", "dataset"),
        ({"http_upload": {"url_prefix": "ftp://e"}}, "invalid_request", "url_prefix"),
        (
            {"http_upload": {"url_prefix": "http://10.0.0.1/x"}},
            *("invalid_request", "ALLOW_PRIVATE_NETWORKS"),
        ),
        ({"s3": {"bucket": "pictures", "prefix": ""}}, "destination_not_configured", "AWS_"),
        ({"gcs": {"bucket": "pictures", "prefix": ""}}, "destination_not_configured", "GOOGLE_"),
        (
            {"azure_blob_upload": {"container": "pictures"}},
            *("destination_not_configured", "AZURE_"),
        ),
        ({"hf_upload": {"repo": "r"}}, "destination_not_configured", "HF_TOKEN"),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
async def test_a_field_that_is_wrong(
    gateway: Gateway, fields: dict[str, Any], code: str, says: str
) -> None:
    answer = await gateway.ask(body={"prompt": empty_image(), **fields})
    found = refused(answer, 422, code, says)
    assert found["location"].partition(".")[0] == next(iter(fields))


async def test_every_wrong_field_is_told_at_once(gateway: Gateway) -> None:
    body = {"prompt": empty_image(), "priority": 500, "timeout": -1}
    refused(await gateway.ask(body=body), 422, "invalid_request", "priority", "timeout")


async def test_a_model_by_url(gateway: Gateway, host: str) -> None:
    graph = empty_image()
    no_such_model(graph)
    graph["3"]["inputs"]["vae_name"] = f"{host}/missing.png"
    answer = await gateway.ask(body={"prompt": graph})
    found = refused(answer, 400, "model_not_fetched", "404")
    assert found["location"] == "prompt.3.inputs.vae_name"


async def test_an_unknown_field_is_named_in_a_warning(gateway: Gateway) -> None:
    answer = await gateway.ask(body={"prompt": empty_image(), "webhok": "https://example.org"})
    assert picture_of(answer).size == (8, 4)
    assert any("'webhok'" in warning for warning in answer.json["warnings"])


async def test_metadata_is_echoed(gateway: Gateway) -> None:
    given = {"note": "x" * 4000}
    answer = await gateway.ask(body={"prompt": empty_image(), "metadata": given})
    assert answer.json["metadata"] == given


async def test_two_requests_of_one_id_share_one_job(gateway: Gateway) -> None:
    body = {"id": f"twice-{uuid.uuid4()}", "prompt": empty_image()}
    one, two = await asyncio.gather(gateway.ask(body=body), gateway.ask(body=body))
    later = await gateway.ask(body=body)
    assert picture_of(one).tobytes() == picture_of(two).tobytes() == picture_of(later).tobytes()
    assert one.json["filenames"] == two.json["filenames"] == later.json["filenames"]


async def test_an_id_that_another_request_has(gateway: Gateway) -> None:
    job_id = f"taken-{uuid.uuid4()}"
    await gateway.ask(body={"id": job_id, "prompt": empty_image()})
    answer = await gateway.ask(body={"id": job_id, "prompt": empty_image("other")})
    refused(answer, 409, "id_taken", job_id, "different request")


async def test_an_idempotency_key_names_a_request(gateway: Gateway) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"prompt": empty_image()}
    one, two = await asyncio.gather(*(gateway.ask(body=body, headers=key) for _ in range(2)))
    assert one.json["id"] == two.json["id"]
    other = await gateway.ask(body={"prompt": empty_image("other")}, headers=key)
    refused(other, 409, "id_taken", "different request")


async def test_an_idempotency_key_that_is_too_long(gateway: Gateway) -> None:
    answer = await gateway.ask(
        body={"prompt": empty_image()}, headers={"Idempotency-Key": "k" * 300}
    )
    refused(answer, 422, "invalid_request", "255 characters")


async def test_a_job_that_takes_longer_than_its_timeout(start: Callable[..., Any]) -> None:
    """ComfyUI is interrupted, and takes the next job."""
    engine = f"{sys.executable} -m gateway.embedded --port ${{COMFYUI_PORT_HOST}} --slow 1"
    folders = "--input-directory ${INPUT_DIR} --output-directory ${OUTPUT_DIR}"
    with start(CMD=f"{engine} {folders}") as slow:
        late = await slow.ask(body={"prompt": empty_image(), "timeout": 0.5})
        refused(late, 504, "timeout", "within 0.5 s", "raise timeout")
        assert picture_of(await slow.ask(body={"prompt": empty_image()})).size == (8, 4)


@pytest.mark.parametrize("accept", ["image/png", "image/*", "image/png, application/json;q=0.5"])
async def test_raw_bytes_by_accept(gateway: Gateway, accept: str) -> None:
    answer = await gateway.ask(body={"prompt": empty_image()}, headers={"Accept": accept})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.raw)).size == (8, 4)
    assert answer.headers["X-Job-Id"]


async def test_many_files_in_one_multipart_answer(gateway: Gateway) -> None:
    answer = await gateway.ask(
        body={"prompt": empty_image(batch_size=3)}, headers={"Accept": "multipart/mixed"}
    )
    assert answer.status == 200
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.raw, policy=email.policy.HTTP)
    parts = [part.get_payload(decode=True) for part in message.iter_parts()]
    assert [Image.open(io.BytesIO(part)).size for part in parts] == [(8, 4)] * 3


async def test_a_type_that_the_job_did_not_make(gateway: Gateway) -> None:
    answer = await gateway.ask(body={"prompt": empty_image()}, headers={"Accept": "video/mp4"})
    found = refused(answer, 406, "not_acceptable", "video/mp4", "image/png", "/jobs/")
    kept = await gateway.ask(f"/jobs/{found['id']}/outputs/0")
    assert Image.open(io.BytesIO(kept.raw)).size == (8, 4)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [("webp", "WEBP"), ("jpeg", "JPEG"), ("jpg", "JPEG"), ("png", "PNG"), ("avif", "AVIF")],
)
async def test_outputs_are_converted(gateway: Gateway, wanted: str, made: str) -> None:
    body = {"prompt": empty_image(), "convert_output": {"format": wanted}}
    answer = await gateway.ask(body=body)
    shown = picture_of(answer)
    assert (shown.format, shown.size) == (made, (8, 4))
    assert answer.json["filenames"][0].endswith(f".{wanted}")
    assert answer.json["warnings"] == []


@pytest.mark.parametrize(
    ("asked", "status", "begin", "end"),
    [
        (None, 200, 0, None),
        ("bytes=0-7", 206, 0, 8),
        ("bytes=-4", 206, -4, None),
        ("bytes=8-", 206, 8, None),
    ],
)
async def test_ranges_of_an_output(
    gateway: Gateway, asked: str | None, status: int, begin: int, end: int | None
) -> None:
    done = await gateway.ask(body={"prompt": empty_image()})
    whole = base64.b64decode(done.json["images"][0])
    url = done.json["outputs"][0]["url"]
    for path in (url, f"{url}-{done.json['filenames'][0]}"):
        answer = await gateway.ask(path, headers={"Range": asked} if asked else None)
        assert (answer.status, answer.raw) == (status, whole[begin:end])


async def test_a_range_outside_of_the_output(gateway: Gateway) -> None:
    done = await gateway.ask(body={"prompt": empty_image()})
    url = done.json["outputs"][0]["url"]
    answer = await gateway.ask(url, headers={"Range": "bytes=999999-"})
    assert answer.status == 416


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/prompt", 405, "method_not_allowed"),
        ("GET", "/jobs/nobody", 404, "job_not_found"),
        ("DELETE", "/jobs/nobody", 404, "job_not_found"),
        ("POST", "/jobs/nobody/cancel", 404, "job_not_found"),
        ("GET", "/jobs/nobody/outputs/0", 404, "job_not_found"),
        ("GET", "/jobs/nobody/outputs/..%2f..%2fetc%2fpasswd", 404, "job_not_found"),
        ("GET", "/docs/..%2f..%2fconfig.py", 404, "not_found"),
        ("GET", "/jobs?state=lost", 422, "invalid_request"),
        ("GET", "/jobs?limit=0", 422, "invalid_request"),
        ("GET", "/jobs?cursor=x", 422, "invalid_request"),
        ("GET", "/logs?tail=all", 422, "invalid_request"),
    ],
)
async def test_an_address_that_leads_nowhere(
    gateway: Gateway, method: str, path: str, status: int, code: str
) -> None:
    answer = await gateway.ask(path, method=method)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["error"]


@pytest.mark.parametrize(
    ("raw", "status", "key"),
    [
        (b"no", 400, "error"),
        (b"[]", 422, "error"),
        (b"{}", 422, "error"),
        (b'{"id": 5}', 422, "error"),
        (b'{"id": "nobody"}', 404, "interrupted"),
    ],
)
async def test_an_interrupt_of_nothing(gateway: Gateway, raw: bytes, status: int, key: str) -> None:
    answer = await gateway.ask("/interrupt", raw=raw)
    assert answer.status == status
    assert key in answer.json
