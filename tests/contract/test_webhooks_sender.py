"""Webhooks, sent over real connections to real receivers out of a real store."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from gateway import metrics
from gateway.jobs.outbox import DeliveryState
from gateway.webhooks import sender
from tests import hosts
from tests.contract.sending import SECRET, sending
from tests.receivers import Receiver, receiving
from tests.waiting import wait_until

PENDING, DELIVERED, DEAD = DeliveryState
PICTURE = bytes(range(256))
LARGE = bytes(range(251)) * 20_000


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


def counted(outcome: str) -> float:
    return float(metrics.deliveries_total.labels(outcome)._value.get())


# What comes of it


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_any_2xx_is_delivered(tmp_path: Path, receiver: Receiver, status: int) -> None:
    receiver.on("/hook", receiver.says(status))
    async with sending(tmp_path) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        [delivery] = await stand.until(DELIVERED)
    assert [call["status"] for call in delivery.attempts] == [status]


async def test_anything_else_is_tried_again_under_the_same_id(
    tmp_path: Path, receiver: Receiver
) -> None:
    elsewhere = receiver.url("/elsewhere")
    receiver.on(
        "/hook",
        receiver.says(500),
        receiver.says(404),
        receiver.says(302, Location=elsewhere),
        receiver.says(200),
    )
    before = counted("failed")
    async with sending(tmp_path) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        [delivery] = await stand.until(DELIVERED)
    assert [call["status"] for call in delivery.attempts] == [500, 404, 302, 200]
    assert "not followed" in delivery.attempts[2]["error"]
    assert receiver.heard("/elsewhere") == []
    assert {call.id for call in receiver.calls} == {"a"}
    assert len({call.body for call in receiver.calls}) == 1
    assert counted("failed") == before + 3


async def test_after_the_last_attempt_it_is_a_dead_letter_that_can_be_replayed(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.on("/hook", receiver.says(500))
    async with sending(tmp_path, attempts=3) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        [dead] = await stand.until(DEAD)
        receiver.on("/hook", receiver.says(500), receiver.says(200))
        await stand.store.outbox.replay(dead.id)
        [delivered] = await stand.until(DELIVERED)
    assert [call["status"] for call in dead.attempts] == [500, 500, 500]
    assert [call["status"] for call in delivered.attempts] == [500, 500, 500, 500, 200]
    assert dead.next_at is None


async def test_no_call_is_overlooked_however_short_the_pauses(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.on("/hook", receiver.says(500))
    async with sending(tmp_path, delays=(0.003,), attempts=60) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        await stand.until(DEAD)
    assert len(receiver.calls) == 60


async def test_410_stops_at_once(tmp_path: Path, receiver: Receiver) -> None:
    receiver.on("/hook", receiver.says(410))
    async with sending(tmp_path) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        [dead] = await stand.until(DEAD)
    [call] = dead.attempts
    assert call["status"] == 410
    assert "no more" in call["error"]
    assert len(receiver.calls) == 1


async def test_retry_after_is_heeded(tmp_path: Path, receiver: Receiver) -> None:
    receiver.on("/busy", receiver.says(429, Retry_After="500"))
    receiver.on("/down", receiver.says(503, Retry_After="7200"))
    receiver.on("/odd", receiver.says(500, Retry_After="500"))
    async with sending(tmp_path, delays=(60,)) as stand:
        pauses = {}
        for path in ("/busy", "/down", "/odd"):
            await stand.over(path[1:], webhook_v2=receiver.url(path))
            found = await stand.until_tried()
            assert found.next_at is not None
            pauses[path] = found.next_at - time.time()
    assert pauses["/busy"] == pytest.approx(500, abs=5)
    assert pauses["/down"] == pytest.approx(3600, abs=5)
    assert pauses["/odd"] == pytest.approx(60, abs=10)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("hangs", "no answer within 0.3 s"),
        ("drips", "no answer within 0.3 s"),
        ("hangs_up", "broke off"),
    ],
)
async def test_who_does_not_answer_is_called_again(
    tmp_path: Path, receiver: Receiver, behaviour: str, reason: str
) -> None:
    receiver.on("/hook", getattr(receiver, behaviour)(), receiver.says(200))
    async with sending(tmp_path, silence_s=0.3) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        [delivery] = await stand.until(DELIVERED)
    first, second = delivery.attempts
    assert reason in first["error"]
    assert "status" not in first
    assert first["duration"] < 5
    assert second["status"] == 200
    # A connection that is hung up on is no reason to call twice for one attempt.
    assert len(receiver.begun) == 2


async def test_a_slow_line_is_no_silence(tmp_path: Path, receiver: Receiver) -> None:
    receiver.on("/hook", receiver.is_slow(0.012))
    async with sending(tmp_path, silence_s=0.6) as stand:
        await stand.over("a", files={"a.mp4": LARGE}, webhook_v2=receiver.url())
        [delivery] = await stand.until(DELIVERED)
    assert delivery.attempts[0]["duration"] > 0.8


@pytest.mark.parametrize("content", [PICTURE, LARGE], ids=["small", "large"])
async def test_who_answers_before_it_has_heard_all_hears_the_rest(
    tmp_path: Path, receiver: Receiver, content: bytes
) -> None:
    receiver.on("/hook", receiver.answers_first())
    async with sending(tmp_path) as stand:
        await stand.over("a", files={"a.png": content}, webhook_v2=receiver.url())
        await stand.until(DELIVERED)
    [call] = receiver.calls
    assert Webhook(SECRET).verify(call.body, dict(call.headers))["id"] == "a"


@pytest.mark.parametrize("content", [PICTURE, LARGE], ids=["small", "large"])
async def test_who_answers_without_hearing_it_has_it(tmp_path: Path, content: bytes) -> None:
    async with hosts.running() as host, sending(tmp_path, silence_s=20) as stand:
        url = host.on("/hook", hosts.says("HTTP/1.1 200 OK"))
        await stand.over("a", files={"a.png": content}, webhook_v2=url)
        [delivery] = await stand.until(DELIVERED)
    assert len(delivery.attempts) == len(host.asked)
    assert delivery.attempts[-1]["duration"] < 10


async def test_nobody_there(tmp_path: Path) -> None:
    async with sending(tmp_path, attempts=2) as stand:
        await stand.over("a", webhook_v2="http://127.0.0.1:9/hook?token=secret")
        [dead] = await stand.until(DEAD)
    assert ["no connection" in call["error"] for call in dead.attempts] == [True, True]
    assert "secret" not in str(dead.attempts)


async def test_the_guard_holds(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path, attempts=1, allow=()) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        [dead] = await stand.until(DEAD)
    assert "public internet" in dead.attempts[0]["error"]
    assert receiver.begun == []


async def test_a_job_that_is_deleted_meanwhile_is_no_harm(
    tmp_path: Path, receiver: Receiver
) -> None:
    may_answer = asyncio.Event()
    receiver.on("/hook", receiver.waits(may_answer))
    async with sending(tmp_path) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        await wait_until(lambda: receiver.calls, description="it was called")
        await stand.store.delete("a")
        may_answer.set()
        await stand.over("b", webhook_v2=receiver.url("/other"))
        await stand.until(DELIVERED)
        assert [delivery.job_id for delivery in await stand.deliveries()] == ["b"]


# Many at a time


async def test_one_destination_has_four_calls_at_a_time(tmp_path: Path, receiver: Receiver) -> None:
    may_answer = asyncio.Event()
    receiver.on("/hook", receiver.waits(may_answer))
    async with sending(tmp_path) as stand:
        for number in range(9):
            await stand.over(f"j{number}", webhook_v2=receiver.url())
        await wait_until(lambda: receiver.now == 4, description="four calls run")
        assert len(await stand.deliveries(PENDING)) == 9
        may_answer.set()
        await stand.until(DELIVERED, 9)
    assert receiver.most_at_once == 4
    assert len(receiver.calls) == 9


async def test_a_dead_receiver_delays_no_other(tmp_path: Path, receiver: Receiver) -> None:
    async with receiving() as dead, sending(tmp_path, silence_s=30) as stand:
        dead.on("/hook", dead.hangs())
        for number in range(100):
            await stand.over(f"d{number}", webhook_v2=dead.url())
        await wait_until(lambda: dead.now == 4, description="four calls hang")
        began = time.monotonic()
        for number in range(10):
            await stand.over(f"j{number}", webhook_v2=receiver.url())
        await stand.until(DELIVERED, 10)
        assert time.monotonic() - began < 10
        assert len(dead.begun) == 4


async def test_a_call_waits_until_the_request_was_answered(
    tmp_path: Path, receiver: Receiver
) -> None:
    answered = asyncio.Event()

    async def wait(_: str) -> None:
        await answered.wait()

    async with sending(tmp_path, answered=wait) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        await stand.over("b", webhook_v2=receiver.url())
        assert receiver.begun == []
        answered.set()
        await stand.until(DELIVERED, 2)


# The store, and the end


async def test_while_the_store_is_locked_nothing_is_sent_twice(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_BACK_OFF_S", 0.02)
    may_answer = asyncio.Event()
    receiver.on("/hook", receiver.waits(may_answer))
    async with sending(tmp_path) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        await wait_until(lambda: receiver.calls, description="it was called")
        other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            may_answer.set()
            await wait_until(lambda: not receiver.now, description="it was answered")
            assert [one.attempts for one in await stand.deliveries()] == [[]]
        finally:
            other.close()
        [delivery] = await stand.until(DELIVERED)
    assert len(delivery.attempts) == 1
    assert len(receiver.begun) == 1


async def test_a_stop_lets_calls_end_and_keeps_the_others(
    tmp_path: Path, receiver: Receiver
) -> None:
    may_answer = asyncio.Event()
    receiver.on("/slow", receiver.waits(may_answer))
    receiver.on("/dead", receiver.hangs())
    async with sending(tmp_path, silence_s=30) as stand:
        await stand.over("slow", webhook_v2=receiver.url("/slow"))
        await stand.over("dead", webhook_v2=receiver.url("/dead"))
        await wait_until(lambda: receiver.now == 2, description="both were called")
        asyncio.get_running_loop().call_later(0.1, may_answer.set)
        await stand.sender.finish()
    receiver.on("/dead", receiver.says(200))
    async with sending(tmp_path) as stand:
        await stand.until(DELIVERED, 2)
    assert len(receiver.heard("/slow")) == 1
    assert len(receiver.heard("/dead")) == 2


async def test_what_is_due_goes_out_at_a_stop(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as stand:
        for number in range(20):
            await stand.over(f"j{number}", webhook_v2=receiver.url())
        await stand.sender.finish()
        assert len(await stand.deliveries(DELIVERED)) == 20


async def test_through_a_proxy(tmp_path: Path, receiver: Receiver) -> None:
    proxies = {"http": receiver.url("")}
    async with sending(tmp_path, proxies=proxies, allow=("*",)) as stand:
        await stand.over("a", webhook_v2="http://receiver.example/hook")
        await stand.until(DELIVERED)
    [call] = receiver.calls
    assert call.headers["host"] == "receiver.example"
