"""A receiver that fails for hours: the schedule is kept, told, and goes on over a restart."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.acceptance.faulty import Place, gateway, picture
from tests.acceptance.test_webhooks import SETTINGS, deliveries, until, verified
from tests.receivers import Receiver
from tests.waiting import wait_until

#: As an hour of failures is: some calls soon, the next one in a while.
DELAYS = (0.1, 0.3, 0.6, 1800.0)


def at(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


def pauses(delivery: dict[str, Any]) -> list[float]:
    """Return the seconds between calls, and until the next one."""
    times = [at(call["at"]) + call["duration"] for call in delivery["attempts"]]
    following = [at(call["at"]) for call in delivery["attempts"][1:]]
    return [
        after - before
        for before, after in zip(times, [*following, at(delivery["next_at"])], strict=True)
    ]


async def test_the_schedule_is_kept_over_a_kill_and_a_replay_is_at_once(
    quiet_place: Place, receiver: Receiver
) -> None:
    receiver.on("/hook", receiver.says(500))
    settings = SETTINGS | {"WEBHOOK_RETRY_DELAYS_S": ",".join(map(str, DELAYS))}
    async with gateway(quiet_place, **settings) as found:
        await found.prompt(picture(), id="a", webhook_v2=receiver.url())
        await wait_until(lambda: len(receiver.calls) == 4, description="it was called four times")

        async def is_noted() -> bool:
            return len((await deliveries(found))[0]["attempts"]) == 4

        await wait_until(is_noted, description="that is told")
        [before] = await deliveries(found, "?state=pending")
        await found.die()
    receiver.on("/hook", receiver.says(200))

    async with gateway(quiet_place, **settings) as found:
        # Another receiver has its call; this one's time has not come.
        await found.prompt(picture(2), id="b", webhook_v2=receiver.url("/other"))
        await until(found, "delivered")
        [after] = await deliveries(found, "?state=pending")
        told = await found.ask("POST", f"/webhooks/deliveries/{after['id']}/replay")
        both = await until(found, "delivered", 2)

    for pause, delay in zip(pauses(before), DELAYS, strict=True):
        assert 0.9 * delay - 0.05 <= pause <= 1.1 * delay + 1.5
    assert [call["status"] for call in before["attempts"]] == [500] * 4
    assert all(0 <= call["duration"] < 5 for call in before["attempts"])
    assert after == before
    assert (told.status, told.body["state"]) == (202, "pending")
    replayed = next(one for one in both if one["job_id"] == "a")
    assert [call["status"] for call in replayed["attempts"]] == [500] * 4 + [200]
    assert "next_at" not in replayed
    assert {call.id for call in receiver.heard()} == {"a"}
    assert {call.body for call in receiver.heard()} == {receiver.heard()[0].body}
    assert verified(receiver.heard()[-1])["type"] == "prompt.complete"
