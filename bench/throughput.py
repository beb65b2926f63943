"""200 prompts of EmptyImage -> SaveImage at once, jobs/s: gateway / direct.

Run it with: python -m bench.throughput [prompts]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp

from bench import stand

ROUNDS = 3


async def _rate(count: int, run: Callable[[int], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(run(number) for number in range(count)))
    return count / (time.perf_counter() - began)


async def main(count: int) -> None:
    """Take turns, and quote the best of three rounds of each."""
    connector = aiohttp.TCPConnector(limit=0)
    async with stand.running() as place, aiohttp.ClientSession(connector=connector) as session:
        direct = stand.Direct(place.comfy, session)
        async with direct.connected():
            rates: dict[str, list[float]] = {"direct": [], "gateway": []}
            for turn in range(ROUNDS):
                first = turn * 2 * count

                async def past(number: int, first: int = first) -> object:
                    return await direct.run(stand.picture(color=first + number, prefix="direct"))

                async def through(number: int, first: int = first + count) -> object:
                    workflow = stand.picture(color=first + number)
                    return await stand.through(session, place.gateway, workflow)

                rates["direct"].append(await _rate(count, past))
                rates["gateway"].append(await _rate(count, through))
    print(f"on {stand.engine_name()}, {count} prompts at once, {ROUNDS} rounds")
    for name, found in rates.items():
        print(f"{name:8} best {max(found):.1f} jobs/s, worst {min(found):.1f}")
    print(f"ratio    {max(rates['gateway']) / max(rates['direct']):.3f} (bar: >= 0.9)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
