"""A disk that takes its time: what is told before it confirms harms no job."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.faulty import Place, gateway, picture
from tests.waiting import wait_until

#: What Python runs at its start, in place of a disk with a spindle.
_SLOW_SYNC = """
import os, time
at_once = os.fsync
def in_time(descriptor):
    time.sleep(0.06)
    at_once(descriptor)
os.fsync = in_time
"""


async def test_jobs_that_comfyui_lost_are_claimed_again_and_run(
    quiet_place: Place, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SLOW_SYNC)
    settings = {"COMFY_QUEUE_DEPTH": "3", "PYTHONPATH": str(tmp_path)}
    async with gateway(quiet_place, "--slow 0.3", **settings) as found:
        for job_id in "abc":
            await found.submit(job_id, picture(2), extra_data={"key": "value"})

        async def are_there() -> bool:
            return await found.engine_queue() == (1, 2)

        await wait_until(are_there, description="ComfyUI has all three")
        url = f"http://127.0.0.1:{quiet_place.engine_port}/queue"
        async with found.session.post(url, json={"clear": True}) as cleared:
            assert cleared.status == 200
        jobs = [await found.until_state(job_id, "succeeded", "failed") for job_id in "abc"]
    assert [job["state"] for job in jobs] == ["succeeded"] * 3
