"""System events, sent over a real connection to a real receiver."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from gateway import metrics
from gateway.config import Settings
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.webhooks import backlog
from gateway.webhooks.system import Notifier, Silence, SystemEvents
from tests.listening import listening
from tests.waiting import wait_until

SECRET = base64.b64encode(b"a key of the operator").decode()
UPLOADED = {"url": "s3://b/é.png", "local_path": "/o/é.png", "size": 5, "duration": 2.0}


class Receiver:
    """An address that says what it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append((dict(request.headers), await request.read()))
        await self.may_answer.wait()
        status = self.answers.pop(0) if self.answers else 204
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    async with listening(web.post("/{path:.*}", found.answer)) as url:
        found.url = f"{url}/events"
        yield found
        found.may_answer.set()


@contextlib.asynccontextmanager
async def opened(
    url: str | None,
    *events: str,
    allow: tuple[str, ...] = ("127.0.0.1",),
    **settings: Any,
) -> AsyncIterator[Notifier]:
    given = Settings(
        host="127.0.0.1", system_webhook_url=url, system_webhook_events=events, **settings
    )
    async with (
        HttpProvider(NetworkGuard(allow), proxies={}).open() as http,
        SystemEvents.open(given, http, pause_s=0.01) as found,
    ):
        yield found


def counted(outcome: str) -> float:
    return metrics.system_events_total.labels(outcome)._value.get()


async def test_an_event_arrives_signed(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM_META_pod", "7")
    before = counted("delivered")
    async with opened(receiver.url, "all", webhook_secret=SECRET) as events:
        events.notify("file_uploaded", UPLOADED)
        await wait_until(lambda: receiver.heard, description="the event was heard")
    headers, body = receiver.heard[0]
    assert headers["Content-Type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers) == {
        "event": "storage.file_uploaded",
        "data": UPLOADED,
        "metadata": {"pod": "7"},
    }
    assert b'"duration":2}' in body
    assert "é".encode() in body
    assert counted("delivered") == before + 1


async def test_events_of_comfyui_are_called_so(receiver: Receiver) -> None:
    async with opened(receiver.url, "executed") as events:
        events.notify("executed", {"type": "executed"})
    assert receiver.bodies == [
        {"event": "comfy.executed", "data": {"type": "executed"}, "metadata": {}}
    ]


async def test_without_a_secret_it_goes_unsigned(receiver: Receiver) -> None:
    async with opened(receiver.url, "all") as events:
        events.notify("file_deleted", {})
    headers, _ = receiver.heard[0]
    assert "webhook-signature" not in headers
    assert headers["webhook-id"].startswith("msg_")


async def test_only_what_is_wanted_is_told_in_order(receiver: Receiver) -> None:
    async with opened(receiver.url, "file_deleted") as events:
        for size in range(3):
            events.notify("file_uploaded", {"size": size})
            events.notify("file_deleted", {"size": size})
    assert [body["data"]["size"] for body in receiver.bodies] == [0, 1, 2]
    assert {body["event"] for body in receiver.bodies} == {"storage.file_deleted"}


@pytest.mark.parametrize("status", [500, 404, 302, 410])
async def test_it_is_tried_three_times_under_one_id(receiver: Receiver, status: int) -> None:
    receiver.answers = [status, status]
    before = counted("delivered")
    async with opened(receiver.url, "all") as events:
        events.notify("file_deleted", {})
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
    assert len(receiver.heard) == 3
    assert counted("delivered") == before + 1


async def test_after_three_tries_the_next_has_its_turn(receiver: Receiver) -> None:
    receiver.answers = [500, 500, 500]
    before = counted("failed")
    async with opened(receiver.url, "all") as events:
        events.notify("file_deleted", {"size": 1})
        events.notify("file_deleted", {"size": 2})
    assert [body["data"]["size"] for body in receiver.bodies] == [1, 1, 1, 2]
    assert counted("failed") == before + 1


async def test_nobody_there_is_no_harm() -> None:
    before = counted("failed")
    async with opened("http://127.0.0.1:9/events", "all") as events:
        events.notify("file_deleted", {})
    assert counted("failed") == before + 1


async def test_the_guard_holds_for_events_too(receiver: Receiver) -> None:
    async with opened(receiver.url, "all", allow=()) as events:
        events.notify("file_deleted", {})
    assert receiver.heard == []


async def test_a_slow_receiver_is_in_nobodys_way(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "CAPACITY", 2)
    receiver.may_answer.clear()
    before = counted("dropped")
    async with opened(receiver.url, "all") as events:
        events.notify("file_deleted", {"size": 0})
        await wait_until(lambda: receiver.heard, description="the first was heard")
        for size in range(1, 6):
            events.notify("file_deleted", {"size": size})
        receiver.may_answer.set()
    assert [body["data"]["size"] for body in receiver.bodies] == [0, 4, 5]
    assert counted("dropped") == before + 3


async def test_what_is_not_json_is_left_out(receiver: Receiver) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    async with opened(receiver.url, "all") as events:
        events.notify("file_deleted", {"size": {1}})
        events.notify("file_deleted", {"size": deep})
        events.notify("file_deleted", {"size": 3})
    assert [body["data"]["size"] for body in receiver.bodies] == [3]


@pytest.mark.parametrize(("url", "events"), [(None, ("all",)), ("http://127.0.0.1/", ())])
async def test_off(url: str | None, events: tuple[str, ...]) -> None:
    async with opened(url, *events) as found:
        assert isinstance(found, Silence)
        found.notify("file_deleted", {})
