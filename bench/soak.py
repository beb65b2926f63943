"""Jobs in a row, tiny ones: whether memory stays where it was, and ComfyUI remembers nothing.

Run it with: python -m bench.soak [jobs]
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from bench import stand
from bench.memory import resident

#: Of every four clients, one waits for its pictures, one gives an id, two ask later.
CLIENTS = 8
FIRST = 1000
#: Memory is told so often.
_EVERY = 2000
_QUIET_S = 3.0
#: What is over is soon forgotten: the disk stays small, and the janitor has work.
_SETTINGS = {"OUTPUT_TTL_S": "0", "JOB_TTL_S": "20"}
_PAUSE_S = 0.02


async def one(session: aiohttp.ClientSession, number: int, is_async: bool, named: bool) -> None:
    """Run a job to its end; raises RuntimeError when that is not a good one."""
    body: dict[str, Any] = {"prompt": stand.picture(16, number % (1 << 24), "soak")}
    if named:
        body["id"] = f"soak-{number}"
    headers = {"Prefer": "respond-async"} if is_async else {}
    async with session.post("/prompt", json=body, headers=headers) as response:
        found = orjson.loads(await response.read())
        if response.status != (202 if is_async else 200):
            raise RuntimeError(f"{response.status}: {found}")
    while is_async:
        await asyncio.sleep(_PAUSE_S)
        async with session.get(f"/jobs/{found['id']}") as response:
            job = orjson.loads(await response.read())
        if job["state"] == "succeeded":
            return
        if job["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"{job}")


class Soak:
    """So many jobs, by clients that take turns at the ways to ask."""

    def __init__(self, place: stand.Stand, session: aiohttp.ClientSession, count: int) -> None:
        self._place = place
        self._session = session
        self._count = count
        self._begun = 0
        self._done = 0
        self._began = time.monotonic()
        #: Resident MB after so many jobs.
        self.memory: dict[int, float] = {}

    async def run(self) -> float:
        """Return the seconds it took."""
        async with asyncio.TaskGroup() as group:
            for client in range(CLIENTS):
                group.create_task(self._client(client))
        return time.monotonic() - self._began

    async def _client(self, client: int) -> None:
        while self._begun < self._count:
            number = self._begun
            self._begun += 1
            await one(self._session, number, is_async=client % 4 > 1, named=client % 4 == 1)
            self._done += 1
            if self._done == FIRST or self._done % _EVERY == 0:
                self._note()

    def _note(self) -> None:
        self.memory[self._done] = resident(self._place.pid)
        rate = self._done / (time.monotonic() - self._began)
        print(
            f"after {self._done:6}: {self.memory[self._done]:6.1f} MB, {rate:5.1f} jobs/s",
            flush=True,
        )


@contextlib.asynccontextmanager
async def _session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        yield session


async def main(count: int) -> None:
    """Measure the gateway's own process; the engine is another."""
    async with stand.running(**_SETTINGS) as place, _session(place.gateway) as session:
        soak = Soak(place, session, count)
        seconds = await soak.run()
        at_end = resident(place.pid)
        await asyncio.sleep(_QUIET_S)
        quiet = resident(place.pid)
        async with session.get(f"{place.comfy}/history") as response:
            history = len(await response.json())
        left = sum(path.is_file() for path in (place.folder / "output").rglob("*"))
        database = sum(path.stat().st_size for path in (place.folder / "state").glob("jobs.db*"))
    first = soak.memory.get(FIRST, at_end)
    print(f"on {stand.engine_name()}, {CLIENTS} clients")
    print(f"{count} jobs in {seconds:.0f} s: {count / seconds:.1f} jobs/s")
    print(f"resident after the first {FIRST}: {first:.1f} MB")
    print(f"resident at the end: {at_end:.1f} MB, {quiet:.1f} MB {_QUIET_S:.0f} s later")
    print(f"ratio: {at_end / first:.3f} (bar: <= 1.1)")
    print(f"entries in ComfyUI's history: {history} (bar: 0)")
    print(f"output files left: {left}; database: {database / 1e6:.1f} MB")
    sys.exit(0 if at_end / first <= 1.1 and history == 0 else 1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
