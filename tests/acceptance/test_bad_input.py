"""Every bad input gets an answer that says what to change, and good input beside it still works."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.graphs import Graph, empty_image, no_such_model, picture_of


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
        (b"5", 422, "invalid_request", "a number, not an object"),
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
        (b'{"nodes": [], "links": []}', 422, "invalid_request", "has no nodes"),
        (b'{"prompt": {"nodes": [], "links": []}}', 422, "invalid_request", "has no nodes"),
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
        (class_unlike_any, "invalid_prompt", "1", ["Install the custom node", "set COMFY_HOME"]),
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
        ({"webhook": "ftp://example.org"}, "invalid_request", "webhook"),
        ({"webhook_v2": "https://u:p@example.org"}, "invalid_request", "no user or password"),
        ({"webhook_v2": "http://10.0.0.1/x"}, "invalid_request", "ALLOW_PRIVATE_NETWORKS"),
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
