"""What a webhook says: its body from stored results and files, and its signature."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from gateway import errors
from gateway.jobs.outbox import DeliveryState
from gateway.webhooks.body import canonical
from tests.contract.sending import GRAPH, SECRET, STATS, sending
from tests.receivers import Receiver, receiving

_, DELIVERED, DEAD = DeliveryState
PICTURE = bytes(range(256))
LARGE = bytes(range(251)) * 20_000
FAILED = {
    "code": "execution_failed",
    "message": "A node raised: é.",
    "status": 500,
    "hint": "Mend it.",
    "node_id": "9",
    "class_type": "SaveImage",
}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


# What is said


@pytest.mark.parametrize("content", [PICTURE, LARGE], ids=["small", "large"])
async def test_a_success_arrives_whole_and_signed(
    tmp_path: Path, receiver: Receiver, content: bytes
) -> None:
    async with sending(tmp_path) as stand:
        files = {"a.png": content, "b.png": b""}
        url = receiver.url()
        job = await stand.over("mine", files=files, webhook_v2=url, metadata={"a": 1.0})
        [delivery] = await stand.until(DELIVERED)
        record = await stand.store.get("mine")

    [call] = receiver.calls
    assert record == job
    told = Webhook(SECRET).verify(call.body, dict(call.headers))
    SvixWebhook(SECRET).verify(call.body, dict(call.headers))
    for library in (Webhook, SvixWebhook):
        with pytest.raises(Exception, match="No matching signature"):
            library(SECRET).verify(call.body + b" ", dict(call.headers))
    assert call.headers["content-type"] == "application/json"
    assert call.headers["content-length"] == str(call.size)
    assert call.headers["user-agent"] == "comfy-gateway"
    assert call.id == "mine"
    assert list(told)[:2] == ["type", "timestamp"]
    assert told["type"] == "prompt.complete"
    assert told["timestamp"].endswith("Z")
    assert (told["id"], told["status"], told["metadata"]) == ("mine", "ok", {"a": 1})
    assert [base64.b64decode(image) for image in told["images"]] == [content, b""]
    assert told["filenames"] == ["mine_a.png", "mine_b.png"]
    assert told["outputs"][0]["url"] == "/jobs/mine/outputs/0"
    assert (told["prompt"], told["stats"], told["warnings"]) == (GRAPH, STATS, ["a warning"])
    assert canonical(told) == call.body
    assert str(tmp_path) not in call.body.decode()
    assert delivery.attempts[0].keys() == {"at", "status", "duration"}


async def test_what_was_uploaded_is_told_by_its_url(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as stand:
        url = {"webhook_v2": receiver.url(), "webhook": receiver.url("/old")}
        await stand.over("a", files={"a.png": b"gone"}, uploaded_to="s3://b/é.png", **url)
        await stand.until(DELIVERED, 2)
    assert receiver.heard()[0].json["images"] == ["s3://b/é.png"]
    assert receiver.heard("/old")[0].json["image"] == "s3://b/é.png"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FAILED, "prompt.failed"),
        (errors.JobCancelled().to_dict(), "prompt.cancelled"),
    ],
)
async def test_a_failure_says_why(
    tmp_path: Path, receiver: Receiver, error: dict[str, Any], kind: str
) -> None:
    async with sending(tmp_path) as stand:
        await stand.over("a", error=error, webhook_v2=receiver.url(), metadata={"of": "mine"})
        await stand.until(DELIVERED)
    [call] = receiver.calls
    told = Webhook(SECRET).verify(call.body, dict(call.headers))
    known = {key: value for key, value in error.items() if key not in ("message", "status")}
    assert told.pop("timestamp")
    assert told == {
        "type": kind,
        "id": "a",
        "prompt": GRAPH,
        "error": error["message"],
        **known,
        "metadata": {"of": "mine"},
    }


async def test_the_older_webhook_has_a_call_for_each_output(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with sending(tmp_path) as stand:
        files = {"a.png": PICTURE, "b.png": LARGE}
        await stand.over("a", files=files, webhook=receiver.url("/done"))
        await stand.until(DELIVERED, 2)
        await stand.over("b", error=FAILED, webhook=receiver.url("/failed"))
        await stand.until(DELIVERED, 3)

    done = sorted((call.json for call in receiver.heard("/done")), key=lambda one: one["filename"])
    assert [list(one) for one in done] == [
        ["event", "image", "id", "filename", "prompt", "stats"]
    ] * 2
    assert [base64.b64decode(one.pop("image")) for one in done] == [PICTURE, LARGE]
    same = {"event": "output.complete", "id": "a", "prompt": GRAPH, "stats": STATS}
    assert done == [{**same, "filename": f"a_{name}.png"} for name in "ab"]
    [failed] = receiver.heard("/failed")
    assert failed.json == {
        "event": "prompt.failed",
        "error": "A node raised: é.",
        "id": "b",
        "prompt": GRAPH,
    }
    assert not [name for call in receiver.calls for name in call.headers if "webhook" in name]


async def test_without_a_secret_it_goes_unsigned(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path, key=None) as stand:
        await stand.over("a", webhook_v2=receiver.url())
        await stand.until(DELIVERED)
    [call] = receiver.calls
    assert call.id == "a"
    assert "webhook-signature" not in call.headers


# The job's files


async def test_a_file_that_is_gone_makes_a_dead_letter(tmp_path: Path, receiver: Receiver) -> None:
    receiver.on("/hook", receiver.says(500))
    async with sending(tmp_path, delays=(3600,)) as stand:
        await stand.over("a", files={"a.png": LARGE}, webhook_v2=receiver.url())
        found = await stand.until_tried()
        (tmp_path / "a_a.png").unlink()
        await stand.store.outbox.replay(found.id)
        [dead] = await stand.until(DEAD)
    assert "gone" in dead.attempts[-1]["error"]
    assert len(receiver.calls) == 1


async def test_a_file_that_changes_while_it_is_sent_is_sent_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    changed = LARGE[::-1]

    async def change(call: Any, request: Any) -> Any:
        await request.content.read(1)
        (tmp_path / "a_a.png").write_bytes(changed)
        return await receiver.says(200)(call, request)

    receiver.on("/hook", change, receiver.says(200))
    async with sending(tmp_path) as stand:
        await stand.over("a", files={"a.png": LARGE}, webhook_v2=receiver.url())
        [delivery] = await stand.until(DELIVERED)
    first, second = delivery.attempts
    assert "changed" in first["error"]
    [call] = receiver.calls
    assert len(receiver.begun) == 2
    told = Webhook(SECRET).verify(call.body, dict(call.headers))
    assert base64.b64decode(told["images"][0]) == changed
    assert second["status"] == 200


async def test_memory_stays_flat_while_a_large_video_is_sent(
    tmp_path: Path, receiver: Receiver
) -> None:
    process = psutil.Process()
    seen: list[int] = []

    async def watch(call: Any, request: Any) -> Any:
        digest = hashlib.sha256()
        while chunk := await request.content.read(1 << 20):
            digest.update(chunk)
            seen.append(process.memory_info().rss)
        call.sha256 = digest.hexdigest()
        receiver.calls.append(call)
        return web.Response()

    receiver.on("/hook", receiver.says(200), watch)
    async with sending(tmp_path, silence_s=10) as stand:
        # The first loads what is loaded once.
        await stand.over("warm", files={"a.png": LARGE}, webhook_v2=receiver.url())
        await stand.until(DELIVERED)
        await stand.over("a", files={"a.mp4": b""}, webhook_v2=receiver.url("/none"))
        await stand.until(DELIVERED, 2)
        before = process.memory_info().rss
        video = tmp_path / "v_a.mp4"
        with video.open("wb") as file:
            file.truncate(200 << 20)
        await stand.over("v", sizes={"a.mp4": 200 << 20}, webhook_v2=receiver.url())
        await stand.until(DELIVERED, 3)
    assert len(seen) > 200
    assert max(seen) - before < 30 << 20
