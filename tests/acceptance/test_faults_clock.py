"""The machine's clock jumps, by an hour: no job and no webhook waits for it to be right again."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.acceptance.faulty import Gateway, Place, gateway, picture
from tests.acceptance.test_webhooks import SETTINGS, until
from tests.receivers import Receiver
from tests.waiting import wait_until

HOUR = 3600


def at(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


@dataclass(frozen=True)
class Clock:
    """The time of day as the gateways of a test see it."""

    file: Path
    library: Path

    def settings(self, place: Place, faults: str) -> dict[str, str]:
        """What a gateway is started with, so that it looks at this clock; its ComfyUI does not."""
        return {
            "CMD": f"env -u LD_PRELOAD {place.command(faults, '')}",
            "COMFY_QUEUE_DEPTH": "1",
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    async def jump(self, found: Gateway, seconds: int) -> None:
        """Set it that much before or after the true time, and wait until a gateway sees that."""
        self.set(seconds)

        async def is_seen() -> bool:
            await found.jobs()
            last = (found.place.folder / "gateway.log").read_text().splitlines()[-1]
            told = json.loads(last).get("timestamp")
            return told is not None and abs(at(told) - time.time() - seconds) < 60

        await wait_until(is_seen, description="the clock has jumped")

    def set(self, seconds: int) -> None:
        beside = self.file.with_name("beside")
        beside.write_text(f"{seconds:+d}")
        beside.replace(self.file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that is right."""
    if not sys.platform.startswith("linux"):
        pytest.skip("clocks are set by libfaketime, and only on Linux")
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install libfaketime)")
    made = Clock(tmp_path / "clock", found)
    made.set(0)
    return made


async def test_a_clock_that_is_set_back_holds_nothing_up(
    quiet_place: Place, clock: Clock, receiver: Receiver
) -> None:
    receiver.on("/hook", receiver.says(500), receiver.says(200))
    receiver.on("/owed", receiver.says(500))
    settings = {**SETTINGS, **clock.settings(quiet_place, "--slow 0.4")}
    settings["WEBHOOK_RETRY_DELAYS_S"] = "1.5"
    async with gateway(quiet_place, **settings) as found:
        await found.submit(
            "hooked", picture(1), webhook_v2=receiver.url(), webhook=receiver.url("/owed")
        )
        await wait_until(lambda: len(receiver.calls) == 2, description="both were called")
        await found.submit("running", picture(2))
        await found.until_begun()
        await found.submit("first", picture(3))
        await found.submit("late", picture(4), timeout=2, priority=-100)
        await clock.jump(found, -HOUR)
        await found.submit("second", picture(5))
        late = await found.until_state("late", "failed", timeout=5)
        await until(found, "delivered")
        jobs = [
            await found.until_state(name, "succeeded") for name in ("running", "first", "second")
        ]
        await found.until_engine_free()
        await found.submit("cut", picture(6))
        await found.until_begun()
        await found.submit("waits", picture(7))
        await found.submit("expires", picture(8), timeout=1)
        await found.die()

    # In the eyes of the next one, all of that will be in an hour.
    receiver.on("/owed", receiver.says(200))
    async with gateway(quiet_place, **settings) as found:
        await found.submit("new", picture(9))
        expired = await found.until_state("expires", "failed", timeout=5)
        jobs += [await found.until_state(name, "succeeded") for name in ("cut", "waits", "new")]
        await until(found, "delivered", 2)

    assert late["error"]["code"] == expired["error"]["code"] == "timeout"
    assert [job["attempt"] for job in jobs] == [1] * 6
    for group in (jobs[:3], jobs[3:]):
        assert sorted(group, key=lambda job: job["started_at"]) == group
    assert at(jobs[1]["created_at"]) < at(jobs[2]["created_at"])
    # Its own clock went on.
    assert at(jobs[2]["finished_at"]) - at(jobs[0]["created_at"]) < 60
    assert len(receiver.heard()) == 2


async def test_a_clock_that_is_set_forward_takes_no_job_from_who_runs_it(
    quiet_place: Place, clock: Clock
) -> None:
    settings = clock.settings(quiet_place, "--slow 1.3")
    async with gateway(quiet_place, **settings) as found:
        await found.submit("running", picture(1))
        [before] = await found.until_begun()
        await clock.jump(found, HOUR)
        job = await found.until_state("running", "succeeded")
        await found.submit("next", picture(2))
        await found.until_begun()

    assert (job["attempt"], job["prompt_id"]) == (1, before["prompt_id"])
    assert at(job["finished_at"]) - at(job["created_at"]) > HOUR
