"""Addresses of jobs and deliveries as no client should write them, and who may ask."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.api.middleware import OPEN_PATHS
from gateway.api.routes import TABLE, Route
from tests.acceptance.conftest import Gateway, refused
from tests.acceptance.faulty import picture
from tests.acceptance.plain import answered, request
from tests.receivers import receiving
from tests.waiting import wait_until

ORIGIN = "https://app.example.org"
LIMIT = "limit is 1 to 200"
STATE = "succeeded, failed, cancelled"
CURSOR = "next_cursor of another answer"


@pytest.fixture(scope="module")
def keyed(start: Callable[..., Any]) -> Iterator[Gateway]:
    """A gateway with a key, and a log that neither holds it nor tells of failures."""
    with start(API_KEYS="ann:first-key", CORS_ORIGINS=ORIGIN) as found:
        yield found
        log = (found.folder / "gateway.log").read_text()
    assert "first-key" not in log
    assert '"level":"error"' not in log, log


@pytest.fixture
async def done(gateway: Gateway) -> str:
    """The id of a job that is over."""
    answer = await gateway.ask(body={"prompt": picture(), "id": str(uuid.uuid4())})
    assert answer.status == 200
    return str(answer.json["id"])


# Lists


@pytest.mark.parametrize("path", ["/jobs", "/webhooks/deliveries"])
@pytest.mark.parametrize(
    ("query", "location", "says"),
    [
        *(("limit=" + one, "limit", LIMIT) for one in ("", "0", "-1", "+5", "1e9", "abc", "201")),
        *(("limit=" + one, "limit", LIMIT) for one in ("1.0", "%D9%A3", "9" * 4000, "0" * 20)),
        *(("cursor=" + one, "cursor", CURSOR) for one in ("", "x", "-1", "%00", "9" * 40, "%ff")),
        *(("state=" + one, "state", "is not") for one in ("", "QUEUED", "%00", "x" * 4000, "%F0")),
    ],
)
async def test_a_page_that_there_is_not(
    gateway: Gateway, path: str, query: str, location: str, says: str
) -> None:
    answer = await gateway.ask(f"{path}?{query}")
    assert refused(answer, 422, "invalid_request", says)["location"] == location
    assert len(answer.told) < 200


async def test_pages_that_are_odd_and_right(gateway: Gateway, done: str) -> None:
    assert (await gateway.ask("/jobs?cursor=0")).json == {"jobs": []}
    newest = (await gateway.ask(f"/jobs?cursor={'9' * 18}&limit=1&unknown=1&state=succeeded")).json
    assert [job["id"] for job in newest["jobs"]] == [done]
    for job_id in ("", "nobody", "%00", "%ff", "a'--", "x" * 4000):
        answer = await gateway.ask(f"/webhooks/deliveries?job_id={job_id}")
        assert (answer.status, answer.json) == (200, {"deliveries": []})


# One job

ODD_IDS = (
    *("nobody", "a%2Fb", "..%2F..%2Fetc%2Fpasswd", "%00", "%ff", "%0d%0aX-Evil:1"),
    *("a'%20OR%201=1--", "%F0%9F%98%80", "%ED%A0%80", "x" * 5000),
)


@pytest.mark.parametrize("job_id", ODD_IDS, ids=lambda text: text[:20])
async def test_a_job_that_there_is_not(gateway: Gateway, job_id: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/events"),
        ("GET", "/outputs/0"),
    ):
        answer = await gateway.ask(f"/jobs/{job_id}{path}", method=method)
        refused(answer, 404, "job_not_found", "There is no job")
        assert len(answer.told) < 250
    answer = await gateway.ask(f"/webhooks/deliveries/{job_id}/replay", method="POST")
    refused(answer, 404, "delivery_not_found", "There is no delivery")


@pytest.mark.parametrize("job_id", [".", "..", "%2E%2e"])
async def test_dots_are_an_id_like_any_other(gateway: Gateway, job_id: str) -> None:
    """Client libraries tidy such addresses up before they send them."""
    for line in (f"GET /jobs/{job_id}", f"GET /jobs/{job_id}/events", f"DELETE /jobs/{job_id}"):
        raw = await answered(gateway, request(gateway, line))
        assert raw.startswith(b"HTTP/1.1 404"), raw
        assert b'"job_not_found"' in raw


@pytest.mark.parametrize(
    "name", ["1", "00", "-1", "-0", "+0", "0.0", "a", "0%00", "%D9%A0", "%20", "9" * 500]
)
async def test_an_output_that_there_is_not(gateway: Gateway, done: str, name: str) -> None:
    answer = await gateway.ask(f"/jobs/{done}/outputs/{name}")
    refused(answer, 404, "output_not_found", "has 1 outputs, counted from 0")
    assert len(answer.told) < 250


@pytest.mark.parametrize("name", ["0", "%30", "0-", "0-..%2F..%2Fetc%2Fpasswd", "0-" + "x" * 4000])
async def test_what_stands_behind_an_index_does_not_matter(
    gateway: Gateway, done: str, name: str
) -> None:
    answer = await gateway.ask(f"/jobs/{done}/outputs/{name}")
    assert (answer.status, answer.raw[:4]) == (200, b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/jobs", "POST", "GET"),
        ("/jobs/x", "PATCH", "DELETE, GET"),
        ("/jobs/x/cancel", "GET", "POST"),
        ("/jobs/x/cancel", "DELETE", "POST"),
        ("/jobs/x/events", "POST", "GET"),
        ("/jobs/x/events", "OPTIONS", "GET"),
        ("/jobs/x/outputs/0", "PUT", "GET"),
        ("/webhooks/deliveries", "DELETE", "GET"),
        ("/webhooks/deliveries/x/replay", "GET", "POST"),
        ("/prompt", "GET", "POST"),
    ],
)
async def test_a_method_that_an_address_does_not_take(
    gateway: Gateway, path: str, method: str, allowed: str
) -> None:
    answer = await gateway.ask(path, method=method)
    refused(answer, 405, "method_not_allowed", f"{path} takes {allowed}")
    assert sorted(answer.headers["Allow"].split(",")) == sorted(allowed.split(", "))


@pytest.mark.parametrize(
    "path",
    [
        *("/jobs/", "//jobs", "/jobs//events", "/jobs/x/outputs", "/jobs/x/outputs/"),
        *("/jobs/x/outputs/0/1", "/jobs/x/nothing", "/webhooks", "/webhooks/deliveries/x"),
    ],
)
async def test_an_address_that_there_is_not(gateway: Gateway, path: str) -> None:
    refused(await gateway.ask(path), 404, "not_found", "/docs")


async def test_a_body_that_nobody_asked_for(gateway: Gateway, done: str) -> None:
    answer = await gateway.ask(f"/jobs/{done}/cancel", raw=b"{garbage", method="POST")
    assert (answer.status, answer.json) == (200, {"id": done, "state": "succeeded"})


@pytest.mark.parametrize(
    ("raw", "status", "code", "says"),
    [
        (b"", 400, "invalid_json", "id"),
        (b"\xff", 400, "invalid_json", "id"),
        (b'{"id": "\\ud800"}', 400, "invalid_json", "id"),
        (b"[]", 422, "invalid_request", "not an object"),
        (b'"x"', 422, "invalid_request", "not an object"),
        (b"{}", 422, "invalid_request", "id: "),
        (b'{"id": 5}', 422, "invalid_request", "id: "),
    ],
)
async def test_an_interrupt_of_nothing(
    gateway: Gateway, raw: bytes, status: int, code: str, says: str
) -> None:
    refused(await gateway.ask("/interrupt", raw=raw), status, code, says)


async def test_an_interrupt_of_nobody(gateway: Gateway) -> None:
    answer = await gateway.ask("/interrupt", {"id": "\0"})
    assert (answer.status, answer.json) == (404, {"id": "\0", "interrupted": "failed"})


# Replays


async def test_twenty_replays_at_once_are_no_flood(gateway: Gateway) -> None:
    async with receiving() as receiver:
        receiver.on("/hook", receiver.says(410), receiver.says(200))
        job_id = str(uuid.uuid4())
        body = {"prompt": picture(), "id": job_id, "webhook_v2": receiver.url()}
        assert (await gateway.ask(body=body)).status == 202

        async def is_over(state: str) -> dict[str, Any] | None:
            told = await gateway.ask(f"/webhooks/deliveries?job_id={job_id}")
            return next((one for one in told.json["deliveries"] if one["state"] == state), None)

        dead = await wait_until(lambda: is_over("dead"), description="it is a dead letter")
        path = f"/webhooks/deliveries/{dead['id']}/replay"
        answers = await asyncio.gather(*(gateway.ask(path, method="POST") for _ in range(20)))
        again = await wait_until(lambda: is_over("delivered"), description="it is delivered")

    assert {answer.status for answer in answers} == {202}
    assert {answer.json["id"] for answer in answers} == {dead["id"]}
    # Who asks while a call is under way has asked for that call.
    assert 2 <= len(receiver.calls) <= 21
    assert receiver.most_at_once == 1
    assert len({call.id for call in receiver.calls}) == 1
    assert [one["status"] for one in again["attempts"]][:2] == [410, 200]


# Keys


GUARDED = [
    route for route in TABLE if route.path not in OPEN_PATHS and not route.path.startswith("/docs/")
]


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
async def test_every_address_asks_for_a_key(keyed: Gateway, route: Route) -> None:
    path = re.sub("[{}]", "", route.path)
    for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": "é"}):
        answer = await keyed.ask(path, method=route.method, headers=headers)
        refused(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_in_the_query_is_none(keyed: Gateway) -> None:
    """It would stand in the logs of every proxy on the way."""
    for name in ("key", "api_key", "access_token"):
        refused(await keyed.ask(f"/jobs/x/events?{name}=first-key"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("GET /jobs", "X-API-Key: first-key\x7f"),
        ("GET /jobs", "X-API-Key: first-key" + "x" * 9000),
        ("GET /jobs", "X-API-Key first-key"),
        ("GET /jobs/" + "x" * 70_000, "X-API-Key: first-key"),
        ("first-key", "X-API-Key: first-key"),
        ("GET /jobs", "Content-Length: first-key"),
    ],
    ids=lambda text: text[:24],
)
async def test_what_is_no_http_is_refused_and_not_logged(
    keyed: Gateway, line: str, field: str
) -> None:
    raw = await answered(keyed, request(keyed, line, field))
    assert raw.startswith(b"HTTP/1.0 400"), raw
    assert b"Traceback" not in raw


async def test_a_page_of_another_origin_may_follow_a_job(keyed: Gateway) -> None:
    asks = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id, x-api-key",
    }
    preflight = await keyed.ask("/jobs/x/events", method="OPTIONS", headers=asks)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert {"last-event-id", "x-api-key"} <= set(allowed.split(", "))

    ours = {"X-API-Key": "first-key", "Origin": ORIGIN}
    answer = await keyed.ask(body={"prompt": picture(), "id": "mine"}, headers=ours)
    assert answer.status == 200
    for path, status in (("/jobs/mine/events", 200), ("/jobs/none/events", 404)):
        answer = await keyed.ask(path, headers=ours)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
    assert b'"state":"succeeded"' in (await keyed.ask("/jobs/mine/events", headers=ours)).raw
