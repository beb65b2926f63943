"""What asks for an answer later, and asks for it badly or oddly: webhooks, ids, keys, headers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.faulty import picture
from tests.acceptance.plain import answered, connected, request
from tests.receivers import Receiver
from tests.waiting import wait_until

HOOKS = ("webhook_v2", "webhook")
ANN, BEN = {"X-API-Key": "first-key"}, {"X-API-Key": "second-key"}
PREFER = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def keyed(start: Callable[..., Any]) -> Iterator[Gateway]:
    """A gateway with two keys that may call the public internet alone, and logs no stack trace."""
    retries = {"WEBHOOK_RETRY_DELAYS_S": "0.1", "WEBHOOK_MAX_ATTEMPTS": "2"}
    with start(API_KEYS="ann:first-key,ben:second-key", **retries) as found:
        found.headers = dict(ANN)
        yield found
        log = (found.folder / "gateway.log").read_text()
    assert '"level":"error"' not in log, log
    assert "first-key" not in log


async def of_job(found: Gateway, job_id: str) -> list[dict[str, Any]]:
    return list((await found.ask(f"/webhooks/deliveries?job_id={job_id}")).json["deliveries"])


async def until_over(found: Gateway, job_id: str, state: str) -> list[dict[str, Any]]:
    """Wait until all that a job owes is delivered, or is a dead letter."""

    async def over() -> list[dict[str, Any]]:
        told = await of_job(found, job_id)
        return told if told and all(one["state"] == state for one in told) else []

    return list(await wait_until(over, description=f"deliveries of {job_id} are {state}"))


# Addresses of webhooks

NO_URL = "write an http or https URL"
NOT_CALLED = "not a URL that can be called"
PRIVATE = "ALLOW_PRIVATE_NETWORKS"
NO_USER = "no user or password"


def as_url(*hosts: str) -> tuple[str, ...]:
    return tuple(f"http://{host}/x" for host in hosts)


WRONG_HOOKS: dict[str, tuple[Any, ...]] = {
    "valid string": (0, 7.5, True, [], {}, ["https://example.org"]),
    "2048 characters": ("https://example.org/" + "x" * 2029,),
    NO_URL: (
        *("", " ", "example.org/x", "//example.org/x", "ftp://example.org", "file:///etc/passwd"),
        *("http://", "http:///x", "http:/x", "https://?x", "https://#x", "javascript:alert(1)"),
        *("https://example.org/x y", "https://example.org\n", "https://example.org/\r\nX-Evil: 1"),
        *("https://example.org/\0", "https://example.org/\x7f", "https://\u00a0example.org/"),
    ),
    NO_USER: (
        *("https://u:p4ss@example.org/", "https://u@example.org", "https://@example.org/"),
        "http://example.org\\@10.0.0.1/",
    ),
    NOT_CALLED: as_url(
        *("host:0", "host:65536", "host:-1", "host:http", "host:80:80", "[::1", "[bad]", "]"),
        *("%31%30.0.0.1", "a%00b", "10.0.0.1\\.example.org", "a|b", "<host>", "*.example.org"),
        *("a..b", ".a", "x" * 64 + ".org", "xn--", "xn--a", "\u2100.org", "\u200b"),
    ),
    PRIVATE: as_url(
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0"),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "0", "999.1.1.1"),
        *("[::1]", "[::]", "[::ffff:10.0.0.1]", "[::ffff:a00:1]", "[64:ff9b::a00:1]", "[fe80::1]"),
        *("[fe80::1%25eth0]", "[2002:a00:1::]", "１２７.0.0.1", "127。0。0。1"),
    ),
}


@pytest.mark.parametrize(
    ("says", "value"), [(says, value) for says, those in WRONG_HOOKS.items() for value in those]
)
async def test_an_address_that_no_webhook_may_have(
    keyed: Gateway, says: str, value: object
) -> None:
    for name in HOOKS:
        answer = await keyed.ask(body={"prompt": picture(), name: value})
        found = refused(answer, 422, "invalid_request", name, says)
        assert found["location"] == name
        assert "p4ss" not in answer.told
        assert len(answer.told) < 300


async def test_both_addresses_are_looked_at(keyed: Gateway) -> None:
    body = {"prompt": picture(), "webhook_v2": "https://example.org", "webhook": "http://10.0.0.1"}
    assert refused(await keyed.ask(body=body), 422, "invalid_request")["location"] == "webhook"
    body |= {"webhook_v2": "", "webhook": 5}
    refused(await keyed.ask(body=body), 422, "invalid_request", "webhook_v2: ", "webhook: ")


async def test_null_is_no_webhook(keyed: Gateway) -> None:
    answer = await keyed.ask(body={"prompt": picture(), **dict.fromkeys(HOOKS)})
    assert (answer.status, len(answer.json["images"])) == (200, 1)


@pytest.mark.parametrize(
    "url",
    [
        "https://bücher.invalid/ü?ü=ü#ü",
        "http://xn--fa-hia.invalid",
        "HTTPS://HOST.invalid.:8443/@x?a=b@c",
        "http://😀.invalid/",
        "http://host.invalid:/x",
        "http://host_a.invalid/<x>",
        "http://host.invalid/" + "x" * 2028,
        "http://localhost/hidden?token=hidden",
        "http://LOCALHOST:1",
    ],
    ids=lambda url: url[:30],
)
async def test_an_odd_address_is_echoed_and_its_call_fails_with_a_reason(
    keyed: Gateway, url: str
) -> None:
    job_id = str(uuid.uuid4())
    answer = await keyed.ask(body={"prompt": picture(), "id": job_id, "webhook_v2": url})
    assert (answer.status, answer.json["webhook_v2"]) == (202, url)
    [delivery] = await until_over(keyed, job_id, "dead")
    assert delivery["url"] == url.partition("?")[0].partition("#")[0]
    assert len(delivery["attempts"]) == 2
    for attempt in delivery["attempts"]:
        assert attempt.keys() == {"at", "error", "duration"}
        private = "not on the public internet" in attempt["error"]
        assert private if "localhost" in url.lower() else "its host name" in attempt["error"]


async def test_a_redirect_is_not_followed(gateway: Gateway, receiver: Receiver) -> None:
    receiver.on("/moved", receiver.says(307, Location="http://169.254.169.254/latest"))
    job_id = str(uuid.uuid4())
    body = {"prompt": picture(), "id": job_id, "webhook_v2": receiver.url("/moved")}
    assert (await gateway.ask(body=body)).status == 202

    async def tried() -> list[dict[str, Any]]:
        return [one for one in await of_job(gateway, job_id) if one["attempts"]]

    [delivery] = await wait_until(tried, description="the webhook was tried")
    [attempt] = delivery["attempts"]
    assert (delivery["state"], attempt["status"]) == ("pending", 307)
    assert "not followed" in attempt["error"]
    # Nobody wants it any more.
    assert (await gateway.ask(f"/jobs/{job_id}", method="DELETE")).status == 204
    assert await of_job(gateway, job_id) == []


# Webhooks with other wishes


async def test_what_the_older_and_the_newer_call_say(gateway: Gateway, receiver: Receiver) -> None:
    """Field by field; nothing that was entrusted to us is among them."""
    job_id = str(uuid.uuid4())
    asked: dict[str, Any] = {
        "id": job_id,
        "webhook": receiver.url("/older"),
        "webhook_v2": receiver.url("/newer?x=1"),
        "metadata": {"m": 1},
        "convert_output": {"format": "webp", "options": {"quality": 50}},
    }
    secrets = {
        "credentials": [{"url_pattern": "**", "auth": {"type": "bearer", "token": "pl4nted"}}],
        "extra_data": {"k": "pl4nted"},
    }
    answer = await gateway.ask(
        body={"prompt": picture(7), **asked, **secrets, "typo": 1}, headers={"Accept": "image/png"}
    )
    accepted = {**asked, "prompt": picture(7), "status": "ok"}
    warnings = ["Unknown field 'typo' was ignored."]
    assert (answer.status, answer.json) == (202, {**accepted, "warnings": warnings})
    await until_over(gateway, job_id, "delivered")
    [newer], [older] = receiver.heard("/newer"), receiver.heard("/older")

    told, legacy = newer.json, older.json
    added = {"type", "timestamp", "status", "images", "filenames", "outputs", "texts", "stats"}
    assert told.keys() == asked.keys() | added | {"prompt", "execution_cached", "warnings"}
    assert (told["type"], told["status"]) == ("prompt.complete", "ok")
    assert {name: told[name] for name in asked} == asked
    assert told["warnings"] == warnings
    assert told["outputs"][0].keys() == {
        *("index", "node_id", "filename", "type", "content_type", "size", "width", "height"),
        "url",
    }
    assert legacy.keys() == {"event", "image", "id", "filename", "prompt", "stats"}
    assert (legacy["event"], legacy["id"]) == ("output.complete", job_id)
    assert (legacy["image"], legacy["filename"]) == (told["images"][0], told["filenames"][0])
    assert (legacy["prompt"], legacy["stats"]) == (told["prompt"], told["stats"])
    assert older.headers.keys() & {"webhook-id", "webhook-signature"} == set()
    assert b"pl4nted" not in newer.body + older.body


async def test_what_both_calls_say_of_a_failure(gateway: Gateway, receiver: Receiver) -> None:
    job_id = str(uuid.uuid4())
    urls = {"webhook": receiver.url("/older"), "webhook_v2": receiver.url("/newer")}
    body = {"prompt": picture(), "id": job_id, "timeout": 5e-324, **urls}
    assert (await gateway.ask(body=body)).status == 202
    await until_over(gateway, job_id, "delivered")
    told, legacy = (receiver.heard(path)[0].json for path in ("/newer", "/older"))
    assert told.keys() == {"type", "timestamp", "id", "prompt", "error", "code", "hint"}
    assert (told["type"], told["code"]) == ("prompt.failed", "timeout")
    assert legacy.keys() == {"event", "error", "id", "prompt"}
    assert (legacy["event"], legacy["error"]) == ("prompt.failed", told["error"])


async def test_a_webhook_with_an_upload_that_is_not_configured(
    gateway: Gateway, receiver: Receiver
) -> None:
    body = {
        "prompt": picture(),
        "webhook_v2": receiver.url(),
        "s3": {"bucket": "pictures", "prefix": ""},
    }
    refused(await gateway.ask(body=body), 422, "destination_not_configured", "AWS_")
    assert receiver.begun == []


async def test_a_request_that_waits_may_not_join_one_with_a_webhook(
    gateway: Gateway, receiver: Receiver
) -> None:
    body = {"prompt": picture(), "id": str(uuid.uuid4())}
    hooked = {**body, "webhook_v2": receiver.url()}
    assert (await gateway.ask(body=hooked)).status == 202
    assert refused(await gateway.ask(body=body), 409, "id_taken")["location"] == "id"
    assert (await gateway.ask(body=hooked)).status in (200, 202)
    await until_over(gateway, body["id"], "delivered")
    assert len(receiver.calls) == 1


# Other fields, and headers


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        *(("priority", raw) for raw in ("1.0", "1.5", "true", '"5"', "null", "1" + "0" * 30)),
        *(("timeout", raw) for raw in ("true", '"5"', "[]", "-0.0", "-1e308", "0")),
        *(("metadata", raw) for raw in ("[]", "5", '{"' + "é" * 2046 + '":1}')),
        *(("id", raw) for raw in ("true", "[]", '"a%2Fb"', '"é"', '" a"')),
    ],
    ids=lambda text: text[:20],
)
async def test_a_field_of_another_kind(keyed: Gateway, field: str, raw: str) -> None:
    body = f'{{"prompt": {json.dumps(picture())}, "{field}": {raw}}}'
    found = refused(await keyed.ask(raw=body.encode(), headers=PREFER), 422, "invalid_request")
    assert found["location"] == field
    assert len(found["error"]) < 200


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "1e400", "1" + "0" * 400])
async def test_a_number_that_json_does_not_have(keyed: Gateway, raw: str) -> None:
    body = f'{{"prompt": {json.dumps(picture())}, "timeout": {raw}}}'
    refused(await keyed.ask(raw=body.encode()), 400, "invalid_json", "not JSON")


async def test_the_longest_timeout_and_the_largest_metadata(keyed: Gateway) -> None:
    metadata = {"é" * 2045: 1}
    body = {"prompt": picture(), "timeout": 1e308, "metadata": metadata, "id": "...", "priority": 0}
    answer = await keyed.ask(body=body)
    assert (answer.status, answer.json["metadata"]) == (200, metadata)
    assert (await keyed.ask("/jobs/...")).json["state"] == "succeeded"


@pytest.mark.parametrize("key", ["", " ", "\t", "k" * 256, "é".encode("latin-1"), "a\u2028b"])
async def test_an_idempotency_key_that_is_none(keyed: Gateway, key: Any) -> None:
    # The client writes text as UTF-8; bytes of another kind go as they are.
    sent = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else key
    asked = request(keyed, "POST /prompt", f"Idempotency-Key: {sent}", body={"prompt": picture()})
    raw = await answered(keyed, asked)
    assert raw.startswith(b"HTTP/1.1 422"), raw
    assert b'"location":"Idempotency-Key"' in raw
    assert b"255 characters, all of them printable" in raw


async def test_two_owners_may_choose_one_idempotency_key(keyed: Gateway) -> None:
    key = {"Idempotency-Key": 'été: 1, 2; "x" ' + "k" * 230, **PREFER}
    answers = [
        await keyed.ask(body={"prompt": picture(color)}, headers={**key, **owner})
        for owner, color in ((ANN, 1), (BEN, 2), (ANN, 1), (BEN, 2))
    ]
    assert {answer.status for answer in answers} <= {200, 202}
    ids = [answer.json["id"] for answer in answers]
    assert (ids[:2], ids[0] != ids[1]) == (ids[2:], True)
    other = await keyed.ask(body={"prompt": picture(3)}, headers=key)
    found = refused(other, 409, "id_taken", "this Idempotency-Key", ids[0])
    assert found["location"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("prefer", "is_async"),
    [
        ("respond-async", True),
        ("Respond-Async; wait=5", True),
        ("return=minimal, respond-async", True),
        ("wait=5\r\nPrefer: respond-async", True),
        ("no-respond-async", False),
        ("respond-asyncish", False),
        ("respond-async=false", False),
        ('foo="respond-async"', False),
        ("wait=5", False),
        (",,;", False),
    ],
)
async def test_which_preference_makes_an_answer_come_at_once(
    keyed: Gateway, prefer: str, is_async: bool
) -> None:
    asked = request(keyed, "POST /prompt", f"Prefer: {prefer}", body={"prompt": picture()})
    raw = await answered(keyed, asked)
    assert raw.startswith(b"HTTP/1.1 202" if is_async else b"HTTP/1.1 200"), raw
    assert (b"Preference-Applied: respond-async" in raw) is is_async
    assert (b"Location: /jobs/" in raw) is is_async


async def test_half_a_request_is_no_job(keyed: Gateway) -> None:
    body = {"prompt": picture(), "id": str(uuid.uuid4())}
    raw = request(keyed, "POST /prompt", "Prefer: respond-async", body=body)
    for cut in (1, 10, 200):
        async with connected(keyed, raw[:-cut]):
            pass
    assert (await keyed.ask(f"/jobs/{body['id']}")).status == 404
    assert (await keyed.ask(body=body, headers=PREFER)).status == 202
