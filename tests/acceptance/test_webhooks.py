"""Webhooks out of a real gateway: they arrive, whatever dies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from tests.acceptance.faulty import Gateway, Place, gateway, picture
from tests.acceptance.test_cli import run
from tests.docs.running import environment
from tests.receivers import Call, Receiver, receiving
from tests.waiting import wait_until

SECRET = "whsec_" + base64.b64encode(b"a key that both sides know").decode()
SETTINGS = {
    "ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
    "WEBHOOK_SECRET": SECRET,
    "WEBHOOK_RETRY_DELAYS_S": "0.2",
}
ONE_AT_A_TIME = {"COMFY_QUEUE_DEPTH": "1", **SETTINGS}
AS_JAVASCRIPT = (
    "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8'))))"
)


def verified(call: Call) -> dict[str, Any]:
    SvixWebhook(SECRET).verify(call.body, dict(call.headers))
    found = Webhook(SECRET).verify(call.body, dict(call.headers))
    assert isinstance(found, dict)
    return found


async def deliveries(found: Gateway, query: str = "") -> list[dict[str, Any]]:
    answer = await found.ask("GET", f"/webhooks/deliveries{query}")
    assert answer.status == 200, answer.body
    return list(answer.body["deliveries"])


async def until(found: Gateway, state: str, count: int = 1) -> list[dict[str, Any]]:
    async def there() -> list[dict[str, Any]]:
        those = await deliveries(found, f"?state={state}")
        return those if len(those) >= count else []

    return list(await wait_until(there, description=f"{count} deliveries are {state}"))


def odd_picture() -> dict[str, Any]:
    """A workflow whose node ids, texts and numbers are written in more than one way."""
    graph = picture(3)
    meta = {"title": "é \u2028 \U0001f600", "10": 1.0, "9": 1e-7, "a": [0.1, -0.0]}
    inputs = {"images": ["10", 0], "filename_prefix": "é"}
    return {"10": graph["1"], "2": {**graph["2"], "inputs": inputs, "_meta": meta}}


async def test_what_became_of_a_job_is_told_after_the_202(place: Place, receiver: Receiver) -> None:
    hook = receiver.url("/hook?token=hidden")
    async with gateway(place, **SETTINGS) as found:
        answer = await found.prompt(odd_picture(), id="mine", webhook_v2=hook, metadata={"n": 1})
        assert (answer.status, answer.body["id"]) == (202, "mine")
        assert "images" not in answer.body
        [delivery] = await until(found, "delivered")
        again = await found.prompt(odd_picture(), id="bad", webhook_v2=hook, timeout=0.0001)
        assert again.status == 202
        await until(found, "delivered", 2)
        metrics = (await found.ask("GET", "/metrics")).body.decode()
        wrong = await found.ask("GET", "/webhooks/deliveries?state=lost&limit=1")
        of_one = await deliveries(found, "?job_id=bad&limit=1")
        unknown = await found.ask("POST", "/webhooks/deliveries/none/replay")
        replayed = await found.ask("POST", f"/webhooks/deliveries/{delivery['id']}/replay")
        await wait_until(lambda: len(receiver.calls) == 3, description="it came again")

    done, failed, repeated = receiver.calls
    told = verified(done)
    assert (told["type"], told["id"], told["metadata"]) == ("prompt.complete", "mine", {"n": 1})
    assert base64.b64decode(told["images"][0]).startswith(b"\x89PNG")
    assert verified(failed)["type"] == "prompt.failed"
    assert verified(failed)["code"] == "timeout"
    assert (repeated.id, verified(repeated)) == (done.id, told)
    assert delivery["url"] == receiver.url("/hook")
    assert (delivery["kind"], delivery["job_id"]) == ("webhook_v2", "mine")
    assert delivery["attempts"][0]["status"] == 200
    assert delivery["attempts"][0]["at"].endswith("Z")
    assert 'comfy_gateway_deliveries_total{outcome="delivered"} 2.0' in metrics
    assert "comfy_gateway_deliveries_pending 0.0" in metrics
    assert (wrong.status, wrong.body["location"]) == (422, "state")
    assert [one["job_id"] for one in of_one] == ["bad"]
    assert (unknown.status, unknown.body["code"]) == (404, "delivery_not_found")
    assert (replayed.status, replayed.body["state"]) == (202, "pending")
    assert "hidden" not in (place.folder / "gateway.log").read_text()
    _assert_javascript_writes_the_same([call.body for call in receiver.calls])


def _assert_javascript_writes_the_same(bodies: list[bytes]) -> None:
    node = shutil.which("node")
    if node is None:
        return
    for body in bodies:
        command = [node, "-e", AS_JAVASCRIPT]
        done = subprocess.run(command, input=body, capture_output=True, timeout=30, check=True)
        assert done.stdout == body


async def test_a_gateway_killed_before_the_webhook_sends_it_later(
    place: Place, receiver: Receiver
) -> None:
    receiver.is_down = True
    async with gateway(place, **SETTINGS) as found:
        await found.prompt(picture(), id="a", webhook_v2=receiver.url(), webhook=receiver.url("/1"))
        await found.until_state("a", "succeeded")
        await found.die()
    receiver.is_down = False
    # Its files are owed, however short their life.
    async with gateway(place, OUTPUT_TTL_S="0", **SETTINGS) as found:
        await until(found, "delivered", 2)
    assert verified(receiver.heard()[0])["type"] == "prompt.complete"
    assert receiver.heard("/1")[0].json["event"] == "output.complete"
    assert len(receiver.calls) == 2


async def test_a_gateway_killed_during_webhooks_repeats_only_those(
    place: Place, receiver: Receiver
) -> None:
    receiver.on("/hook", receiver.hangs())
    jobs = [f"j{number}" for number in range(7)]
    async with gateway(place, **SETTINGS) as found:
        for number, job_id in enumerate(jobs):
            await found.prompt(picture(number), id=job_id, webhook_v2=receiver.url())
        for job_id in jobs:
            await found.until_state(job_id, "succeeded")
        await wait_until(lambda: receiver.now == 4, description="four calls hang")
        await found.die()
    in_flight = {call.id for call in receiver.calls}
    assert len(receiver.calls) == 4
    receiver.on("/hook", receiver.says(200))
    async with gateway(place, **SETTINGS) as found:
        await until(found, "delivered", 7)
    ids = [call.id for call in receiver.calls]
    assert {job_id for job_id in ids if ids.count(job_id) > 1} == in_flight
    assert sorted(set(ids)) == jobs
    assert len(ids) == 11


async def test_a_stopped_gateway_tells_of_the_job_it_finished(
    place: Place, receiver: Receiver
) -> None:
    async with gateway(place, "--slow 0.5", **SETTINGS) as found:
        await found.prompt(picture(), id="a", webhook_v2=receiver.url())
        await found.until_begun()
        found.terminate()
        assert await found.exit_status() == 0
    assert [verified(call)["id"] for call in receiver.calls] == ["a"]


async def test_a_job_cancelled_in_the_queue_is_told(place: Place, receiver: Receiver) -> None:
    async with gateway(place, "--slow 5", COMFY_QUEUE_DEPTH="1", **SETTINGS) as found:
        await found.prompt(picture(1), id="long", webhook_v2=receiver.url("/long"))
        await found.until_begun()
        await found.prompt(picture(2), id="queued", webhook_v2=receiver.url())
        await asyncio.gather(
            found.ask("POST", "/jobs/queued/cancel"), found.ask("POST", "/jobs/long/cancel")
        )
        await until(found, "delivered", 2)
    for call in receiver.calls:
        told = verified(call)
        assert (told["type"], told["code"]) == ("prompt.cancelled", "cancelled")
        assert json.dumps(told["prompt"])


async def test_dead_letters_are_listed_and_sent_again_from_the_command_line(
    place: Place, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.on("/hook", receiver.says(500))
    receiver.on("/gone", receiver.says(410))
    hurried = SETTINGS | {"WEBHOOK_MAX_ATTEMPTS": "2", "OUTPUT_TTL_S": "0"}
    async with gateway(place, **hurried) as found:
        env = environment(place.folder, GATEWAY_URL=f"http://127.0.0.1:{place.port}")
        await found.prompt(picture(1), id="a", webhook_v2=receiver.url("/hook?token=hidden"))
        await found.prompt(picture(2), id="b", webhook_v2=receiver.url("/gone"))
        dead = await until(found, "dead", 2)
        listed = await run(env, "webhooks", "ls", "--state", "dead")
        receiver.behaviours.clear()
        replayed = await run(env, "webhooks", "replay", "--dead")
        delivered = await until(found, "delivered", 2)
        of_none = await run(env, "webhooks", "replay", "none")
        empty = await run(env, "webhooks", "ls", "--state", "dead", "--job", "a")
        job = await found.ask("DELETE", "/jobs/a")
        left = await deliveries(found)

    assert {len(one["attempts"]) for one in dead} == {1, 2}
    assert listed.status == 0
    assert [word in listed.out for word in ("500", "410", "/gone", "hidden")] == [True] * 3 + [
        False
    ]
    assert sorted(replayed.lines) == sorted(one["id"] for one in dead)
    assert {len(one["attempts"]) for one in delivered} == {2, 3}
    assert (of_none.status, "no delivery 'none'" in of_none.err) == (1, True)
    assert len(empty.lines) == 1
    assert job.status == 204
    assert [one["job_id"] for one in left] == ["b"]
    again = receiver.heard("/hook")[-1]
    assert base64.b64decode(verified(again)["images"][0]).startswith(b"\x89PNG")
    await _verify(tmp_path, env, again)


async def _verify(folder: Path, env: dict[str, str], call: Call) -> None:
    (folder / "body").write_bytes(call.body)
    lines = [f"{name}: {value}\n" for name, value in call.headers.items()]
    (folder / "headers").write_text("".join(lines))
    command = ["webhooks", "verify", "--header-file", str(folder / "headers")]
    env = {**env, "WEBHOOK_SECRET": SECRET}
    valid = await run(env, *command, str(folder / "body"))
    forged = await run(env, *command, "--id", "other", str(folder / "body"))
    assert (valid.status, valid.out) == (0, "valid\n")
    assert (forged.status, forged.out[:9]) == (1, "not valid")
    assert SECRET not in forged.out + forged.err


async def test_bad_receivers_get_their_calls_and_keep_nobody_waiting(place: Place) -> None:
    async with contextlib.AsyncExitStack() as stack:
        names = ("hangs", "drips", "fails", "gone", "moved", "good")
        receivers = {name: await stack.enter_async_context(receiving()) for name in names}
        hook = {name: found.url() for name, found in receivers.items()}
        receivers["hangs"].on("/hook", receivers["hangs"].hangs())
        receivers["drips"].on("/hook", receivers["drips"].drips())
        failing = [receivers["fails"].says(500)] * 5
        receivers["fails"].on("/hook", *failing, receivers["fails"].says(204))
        receivers["gone"].on("/hook", receivers["gone"].says(410))
        receivers["moved"].on("/hook", receivers["moved"].says(307, Location=hook["good"]))
        hurried = SETTINGS | {"WEBHOOK_RETRY_DELAYS_S": "0.02,0.05", "WEBHOOK_MAX_ATTEMPTS": "6"}
        found = await stack.enter_async_context(gateway(place, **hurried))
        for number in range(10):
            for name in ("hangs", "drips"):
                await found.prompt(picture(number), id=f"{name}{number}", webhook_v2=hook[name])
        for name in ("fails", "gone", "moved", "good"):
            await found.prompt(picture(20), id=name, webhook_v2=hook[name])
        delivered = {one["job_id"]: one["attempts"] for one in await until(found, "delivered", 2)}
        dead = {one["job_id"]: one["attempts"] for one in await until(found, "dead", 2)}
        owed = await deliveries(found, "?state=pending")

    assert delivered.keys() == {"fails", "good"}
    assert [call["status"] for call in delivered["fails"]] == [500] * 5 + [204]
    assert [call["status"] for call in dead["gone"]] == [410]
    assert [call["status"] for call in dead["moved"]] == [307] * 6
    assert len(receivers["good"].calls) == 1
    assert len(owed) == 20
    assert [receivers[name].most_at_once for name in ("hangs", "drips")] == [4, 4]
