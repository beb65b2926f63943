"""What durability adds to a synchronous 64x64 EmptyImage -> SaveImage, p50.

With an `id` the job is on disk before it runs, and its end before it is answered; an anonymous one
is not. Run it with: python -m bench.durability [rounds]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
import uuid
from typing import Any

import aiohttp

from bench import stand

WARM_UP = 10


async def _timed(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> float:
    began = time.perf_counter()
    async with session.post(f"{url}/prompt", json=body) as response:
        response.raise_for_status()
        await response.read()
    return time.perf_counter() - began


async def main(rounds: int) -> None:
    """Interleave both ways, so that the noise of the machine falls on both."""
    times: dict[str, list[float]] = {"anonymous": [], "durable": []}
    async with stand.running() as place, aiohttp.ClientSession() as session:
        for number in range(rounds + WARM_UP):
            # Which comes first changes, since the first of a pair may find a colder machine.
            for way in sorted(times, reverse=bool(number % 2)):
                color = 2 * number + (way == "durable")
                body: dict[str, Any] = {"prompt": stand.picture(color=color)}
                if way == "durable":
                    body["id"] = uuid.uuid4().hex
                took = await _timed(session, place.gateway, body)
                if number >= WARM_UP:
                    times[way].append(took)
    p50 = {way: statistics.median(found) * 1000 for way, found in times.items()}
    p95 = {way: statistics.quantiles(found, n=20)[18] * 1000 for way, found in times.items()}
    print(f"on {stand.engine_name()}, {rounds} rounds")
    for way in times:
        print(f"{way:10} p50 {p50[way]:.2f} ms, p95 {p95[way]:.2f} ms")
    print(f"added      p50 {p50['durable'] - p50['anonymous']:.2f} ms (bar: <= 1)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
