"""What a job's outputs come as, and addresses that lead nowhere."""

from __future__ import annotations

import base64
import email
import email.policy
import io

import pytest
from PIL import Image

from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.graphs import empty_image, picture_of


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
