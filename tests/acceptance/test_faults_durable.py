"""The gateway is killed or stopped while it owes jobs: each one ends as was promised."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.conftest import png
from tests.acceptance.faulty import Place, gateway, picture
from tests.acceptance.shelves import Shelf
from tests.acceptance.test_webhooks import ONE_AT_A_TIME, until, verified
from tests.hosts import OK, Host, running, says, silence
from tests.receivers import Receiver
from tests.waiting import wait_until


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


def of_picture(url: str) -> dict[str, Any]:
    """A workflow that loads a picture from a URL."""
    return picture() | {"1": {"class_type": "LoadImage", "inputs": {"image": url}}}


async def test_a_kill_in_any_state_changes_nothing_for_the_caller(
    quiet_place: Place, receiver: Receiver, host: Host, shelf: Shelf
) -> None:
    shelf.may_answer.clear()
    url = host.on("/slow.png", silence, says(OK, png()))
    upload = {"http_upload": {"url_prefix": shelf.url, "async": True}}
    hook = {"webhook_v2": receiver.url()}
    names = ["delivering", "running", "preparing", "queued"]
    async with gateway(quiet_place, first="--hang-node 2", **ONE_AT_A_TIME) as found:
        await found.submit("delivering", picture(1), **upload, **hook)
        await found.until_state("delivering", "delivering")
        await found.submit("running", picture(2), **hook)
        await found.until_begun()
        await found.submit("preparing", of_picture(url), **hook)
        await found.submit("queued", picture(3), **hook)
        await wait_until(lambda: host.asked, description="an input is fetched")
        before = [await found.job(name) for name in names]
        await found.die()
    shelf.may_answer.set()

    async with gateway(quiet_place, **ONE_AT_A_TIME) as found:
        after = [await found.until_state(name, "succeeded") for name in names]
        sent = await until(found, "delivered", len(names))

    assert [job["state"] for job in before] == ["delivering", "running", "queued", "queued"]
    assert before[2]["phase"] == "preparing"
    assert [job["attempt"] for job in after] == [1] * 4
    # What the GPU had done it did not do again; what it had begun has a new name.
    assert after[0]["prompt_id"] == before[0]["prompt_id"]
    assert after[1]["prompt_id"] != before[1]["prompt_id"]
    assert len(shelf.files) == 1
    told = {call.id: verified(call) for call in receiver.calls}
    assert sorted(told) == sorted(names)
    assert len(receiver.calls) == len(sent) == 4
    assert {one["type"] for one in told.values()} == {"prompt.complete"}


async def test_what_must_not_be_on_disk_is_lost_by_a_kill_and_that_is_told(
    quiet_place: Place, receiver: Receiver
) -> None:
    hook = {"webhook_v2": receiver.url()}
    secret = "pl4nted-s3cret"
    bearer = {"url_pattern": "**", "auth": {"type": "bearer", "token": secret}}
    async with gateway(quiet_place, "--slow 20", **ONE_AT_A_TIME) as found:
        await found.submit("keyed", picture(1), extra_data={"api_key": secret}, **hook)
        await found.until_begun()
        await found.submit("credited", picture(2), credentials=[bearer], **hook)
        await found.die()
    on_disk = b"".join(
        path.read_bytes() for path in (quiet_place.folder / "state_dir").glob("jobs*")
    )

    async with gateway(quiet_place, **ONE_AT_A_TIME) as found:
        jobs = [await found.until_state(name, "failed") for name in ("keyed", "credited")]
        await until(found, "delivered", 2)

    assert secret.encode() not in on_disk
    for job in jobs:
        assert (job["attempt"], job["error"]["code"]) == (1, "credentials_lost")
        assert "send it again" in job["error"]["message"]
    for told in map(verified, receiver.calls):
        assert (told["type"], told["code"]) == ("prompt.failed", "credentials_lost")


async def test_a_stop_finishes_what_runs_and_keeps_what_is_queued(
    quiet_place: Place, receiver: Receiver
) -> None:
    receiver.on("/older", receiver.hangs(), receiver.says(200))
    hooks = {"webhook_v2": receiver.url(), "webhook": receiver.url("/older")}
    queued = [f"queued-{number}" for number in range(5)]
    async with gateway(quiet_place, "--slow 0.4", DRAIN_TIMEOUT_S="10", **ONE_AT_A_TIME) as found:
        await found.submit("running", picture(9), **hooks)
        await found.until_begun()
        for number, name in enumerate(queued):
            await found.submit(name, picture(number), webhook_v2=receiver.url())
        found.terminate()
        assert await found.exit_status(10) == 0
        await found.until_port_free()
    # One receiver has heard of it by now; the one that hangs stays owed.
    assert [(call.path, verified(call)["id"]) for call in receiver.heard()] == [
        ("/hook", "running")
    ]

    async with gateway(quiet_place, **ONE_AT_A_TIME) as found:
        finished = [await found.until_state(name, "succeeded") for name in queued]
        first = await found.job("running")
        await until(found, "delivered", 7)

    assert [job["attempt"] for job in finished] == [1] * 5
    assert sorted(finished, key=lambda job: job["started_at"]) == finished
    assert (first["state"], first["attempt"]) == ("succeeded", 1)
    assert sorted(call.id for call in receiver.heard()) == [*queued, "running"]
    assert [call.json["id"] for call in receiver.heard("/older")] == ["running"] * 2
