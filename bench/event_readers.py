"""Many readers of one running job's events: CPU of the gateway, in percent of one core.

A sampler of the embedded engine reports 20 steps a second for 20 s, with a preview for each; the
readers are a process of their own. The same run without readers shows what they cost.

Run it with: python -m bench.event_readers [readers]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil

from bench import stand
from tests.sampling import put_model, sampler

READERS = 500
STEPS = 400
STEP_S = 0.05
BAR = 20.0


@dataclass(frozen=True)
class Run:
    """What a run took, and what its readers heard."""

    seconds: float
    cpu_seconds: float
    told: str

    @property
    def percent(self) -> float:
        """CPU of the gateway, of one core."""
        return 100 * self.cpu_seconds / self.seconds


async def read(url: str, readers: int) -> None:
    """Read a job's events over many connections to their end; tell how many came."""
    parts = urlsplit(url)
    heard: list[int] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        count, tail = 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            data = await reader.read(65536)
            if not data:
                break
            count += data.count(b"\nevent: ")
            tail = (tail + data)[-200:]
        heard.append(count if b'"succeeded"' in tail else -1)
        writer.close()

    print("reading", flush=True)
    await asyncio.gather(*(one() for _ in range(readers)))
    whole = sum(count > 0 for count in heard)
    span = f"{min(heard, default=0)} to {max(heard, default=0)}"
    print(f"{whole} of {readers} heard the end, {span} events each")


async def measure(place: stand.Stand, session: aiohttp.ClientSession, readers: int) -> Run:
    """Run one job, and see what the gateway works meanwhile."""
    job_id = f"readers-{readers}"
    body = {"prompt": sampler(STEPS, readers), "id": job_id}
    headers = {"Prefer": "respond-async"}
    async with session.post(f"{place.gateway}/prompt", json=body, headers=headers) as answer:
        assert answer.status == 202, await answer.text()
    url = f"{place.gateway}/jobs/{job_id}"
    command = (sys.executable, "-m", "bench.event_readers", "read", f"{url}/events", str(readers))
    reading = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    await _until(session, url, lambda job: job["progress"].get("step"), 0.05)
    cpu, began = _cpu(place.pid), time.monotonic()
    told, _ = await reading.communicate()
    await _until(session, url, lambda job: job["state"] == "succeeded", 1.0)
    return Run(time.monotonic() - began, _cpu(place.pid) - cpu, told.decode().splitlines()[-1])


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def _until(
    session: aiohttp.ClientSession,
    url: str,
    holds: Callable[[dict[str, Any]], Any],
    pause_s: float,
) -> None:
    while True:
        async with session.get(url) as answer:
            if holds(await answer.json()):
                return
        await asyncio.sleep(pause_s)


async def main(readers: int) -> None:
    """Measure without readers, then with all of them."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-models-") as models:
        put_model(Path(models))
        flags = f"--step-delay {STEP_S}"
        async with (
            stand.running(flags, MODEL_DIR=models) as place,
            aiohttp.ClientSession() as session,
        ):
            for count in (0, readers):
                run = await measure(place, session, count)
                bar = f" (bar: {BAR:g}%)" if count else ""
                print(f"{count} readers: {run.percent:.1f}% of one core{bar}; {run.told}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        asyncio.run(read(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else READERS))
