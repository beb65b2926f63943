"""Requests: every wrong field told at once, unknown ones told or refused."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import errors
from gateway.schemas import JOB_ID, METADATA_BYTES, PromptRequest, parse

PROMPT = {"1": {"class_type": "A", "inputs": {}}}
SECRET = "s3cr3t"


def refused(body: Any, *, strict: bool = False) -> dict[str, Any]:
    with pytest.raises(errors.RequestRefused) as failure:
        parse(PromptRequest, body, strict=strict)
    return failure.value.to_dict()


def credential(**auth: Any) -> dict[str, Any]:
    return {"credentials": [{"url_pattern": "https://host/**", "auth": auth}]}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"id": "a.B_c:d-9"},
        {"id": "x" * 128},
        {"id": None},
        {"priority": -100},
        {"priority": 100},
        {"timeout": 0.5},
        {"metadata": {}},
        {"metadata": {"a": "x" * (METADATA_BYTES - 8)}},
        {"convert_output": {"format": "webp", "options": {"quality": 5}}},
        {"extra_data": {"any": [1]}},
        credential(type="bearer", token=SECRET),
        credential(type="basic", username="u", password=SECRET),
        credential(type="header", header_name="X-Key", header_value=SECRET),
        credential(type="query", query_param="key", query_value=SECRET),
        credential(type="s3", access_key_id="a", secret_access_key=SECRET, region="auto"),
        {"s3": {"bucket": "b", "prefix": ""}},
        {"s3": {"bucket": "my-b.ucket_1", "prefix": "a/b c-", "async": True, "presign_s": 604800}},
        {"gcs": {"bucket": "b", "prefix": "x/", "presign_s": 1}},
        {"azure_blob_upload": {"container": "c"}},
        {"azure_blob_upload": {"container": "c", "blob_prefix": "x/", "presign_s": None}},
        {"hf_upload": {"repo": "name"}},
        {
            "hf_upload": {
                "repo": "owner/na.me",
                "repo_type": "dataset",
                "revision": "refs/pr/1",
                "directory": "/a/b",
                "async": False,
            }
        },
        {"http_upload": {"url_prefix": "HTTP://u:p@host:8/x/?a=b"}},
        {"webhook_v2": "https://user.example.org/hook?a=b", "webhook": "http://10.0.0.1:8/@a"},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_right_requests(fields: dict[str, Any]) -> None:
    request, warnings = parse(PromptRequest, {"prompt": PROMPT, **fields}, strict=True)
    assert request.prompt == PROMPT
    assert warnings == []


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        *(({"id": job_id}, "id") for job_id in ("", ".", "..", "a/b", "a b", "ä", "x" * 129, 5)),
        *(({"priority": value}, "priority") for value in (101, -101, 1.5, "1", True, None)),
        *(({"timeout": value}, "timeout") for value in (0, -1, "soon", "5", True, float("inf"))),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * (METADATA_BYTES - 7)}}, "metadata"),
        ({"convert_output": {"format": "gif"}}, "convert_output.format"),
        ({"convert_output": {"format": "png", "x": 1}}, "convert_output.x"),
        ({"extra_data": 5}, "extra_data"),
        ({"s3": []}, "s3"),
        ({"s3": {"prefix": ""}}, "s3.bucket"),
        ({"s3": {"bucket": "b"}}, "s3.prefix"),
        ({"s3": {"bucket": "b/c", "prefix": ""}}, "s3.bucket"),
        ({"s3": {"bucket": "", "prefix": ""}}, "s3.bucket"),
        ({"s3": {"bucket": "b", "prefix": "a?b"}}, "s3.prefix"),
        ({"s3": {"bucket": "b", "prefix": "a\nb"}}, "s3.prefix"),
        ({"s3": {"bucket": "b", "prefix": "", "async": 1}}, "s3.async"),
        ({"s3": {"bucket": "b", "prefix": "", "is_async": True}}, "s3.is_async"),
        *(
            ({"gcs": {"bucket": "b", "prefix": "", "presign_s": value}}, "gcs.presign_s")
            for value in (0, -1, 604801, 1.5, "60", True)
        ),
        ({"azure_blob_upload": {"container": ""}}, "azure_blob_upload.container"),
        ({"azure_blob_upload": {"container": "c", "prefix": ""}}, "azure_blob_upload.prefix"),
        *(
            ({"hf_upload": {"repo": repo}}, "hf_upload.repo")
            for repo in ("", "a/b/c", "../x", "a b")
        ),
        ({"hf_upload": {"repo": "r", "repo_type": "space"}}, "hf_upload.repo_type"),
        ({"hf_upload": {"repo": "r", "revision": ""}}, "hf_upload.revision"),
        ({"hf_upload": {"repo": "r", "directory": "/a/../b"}}, "hf_upload.directory"),
        ({"hf_upload": {"repo": "r", "presign_s": 5}}, "hf_upload.presign_s"),
        *(
            ({"http_upload": {"url_prefix": url}}, "http_upload.url_prefix")
            for url in ("", "host/x", "ftp://host", "https://", "https://h/a b", "https://h/#a")
        ),
        ({"credentials": credential(type="bearer", token="t")["credentials"] * 101}, "credentials"),
        (credential(type="magic"), "credentials.0.auth"),
        (credential(type="bearer"), "credentials.0.auth.bearer.token"),
        (
            credential(type="header", header_name="X\r\nY", header_value="v"),
            "credentials.0.auth.header.header_name",
        ),
        (
            credential(type="header", header_name="X", header_value="v\r\nY: z"),
            "credentials.0.auth.header.header_value",
        ),
        (
            credential(type="header", header_name="X", header_value="v\n"),
            "credentials.0.auth.header.header_value",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_fields(fields: dict[str, Any], location: str) -> None:
    told = refused({"prompt": PROMPT, **fields})
    assert (told["code"], told["location"]) == ("invalid_request", location)


def test_all_wrong_fields_are_told_at_once() -> None:
    told = refused({"id": "a/b", "priority": 999, "timeout": -1})
    for name in ("prompt: ", "id: 1 to 128", "priority: ", "timeout: "):
        assert name in told["message"]


def test_secrets_are_not_repeated() -> None:
    wrong = credential(type="bearer", token=[SECRET])["credentials"]
    assert SECRET not in refused({"prompt": PROMPT, "credentials": wrong})["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, "invalid_request"),
        ([], "invalid_request"),
        ("text", "invalid_request"),
        ({}, "invalid_request"),
        ({"prompt": 5}, "invalid_request"),
    ],
)
def test_what_is_no_request(body: Any, code: str) -> None:
    assert refused(body)["code"] == code


@pytest.mark.parametrize("name", ["webhook", "webhook_v2"])
@pytest.mark.parametrize("url", ["ftp://h/x", "https://", "https:///x", "http://u:p@h/x", "h", 7])
def test_what_is_no_address_of_a_webhook(name: str, url: Any) -> None:
    told = refused({"prompt": PROMPT, name: url})
    assert (told["code"], told["location"]) == ("invalid_request", name)
    # What the rule is, in words and not as a regular expression.
    assert "pattern" not in told["message"]
    assert "x00" not in told["message"]


def test_an_at_sign_behind_the_host_is_no_user() -> None:
    for url in ("https://h/@a", "https://h?a=@b", "https://h#@c"):
        parse(PromptRequest, {"prompt": PROMPT, "webhook_v2": url}, strict=True)


def test_the_outputs_go_to_one_destination() -> None:
    both = {"s3": {"bucket": "b", "prefix": ""}, "http_upload": {"url_prefix": "https://h"}}
    told = refused({"prompt": PROMPT, **both})
    assert (told["code"], told["location"]) == ("invalid_request", "http_upload")
    assert "s3, http_upload" in told["message"]
    assert told["hint"] == "Give one of them."
    parse(PromptRequest, {"prompt": PROMPT, **both, "s3": None}, strict=True)


@pytest.mark.parametrize("is_async", [True, False])
def test_whether_the_answer_waits(is_async: bool) -> None:
    upload = {"hf_upload": {"repo": "o/r", "async": is_async}}
    assert parse(PromptRequest, {"prompt": PROMPT, **upload}, strict=True)[0].is_async is is_async
    assert parse(PromptRequest, {"prompt": PROMPT}, strict=True)[0].is_async is False


def test_unknown_fields_are_told_or_refused() -> None:
    body = {"prompt": PROMPT, "zeta": 1, "alpha": None}
    _, warnings = parse(PromptRequest, body, strict=False)
    expected = ["Unknown field 'alpha' was ignored.", "Unknown field 'zeta' was ignored."]
    assert warnings == expected
    told = refused(body, strict=True)
    assert "alpha, zeta" in told["message"]
    many = {"prompt": PROMPT, **{f"{n:0200}": 1 for n in range(50)}}
    _, warnings = parse(PromptRequest, many, strict=False)
    assert len(warnings) == 20
    assert max(map(len, warnings)) < 150


def test_ids_are_whole_and_no_folder() -> None:
    assert not JOB_ID.fullmatch("a\n")
    assert JOB_ID.fullmatch("...")
