"""Latency of a 64x64 EmptyImage -> SaveImage, one at a time: gateway / direct, p50.

Run it with: python -m bench.latency [rounds]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import aiohttp

from bench import stand


async def main(rounds: int) -> None:
    """Interleave both ways, so that the noise of the machine falls on both."""
    async with stand.running() as place, aiohttp.ClientSession() as session:
        direct = stand.Direct(place.comfy, session)
        async with direct.connected():
            times: dict[str, list[float]] = {"gateway": [], "direct": []}
            for color in range(rounds + 10):
                began = time.perf_counter()
                await direct.run(stand.picture(color=2 * color, prefix=f"d{color}"))
                middle = time.perf_counter()
                await stand.through(session, place.gateway, stand.picture(color=2 * color + 1))
                ended = time.perf_counter()
                if color >= 10:
                    times["direct"].append(middle - began)
                    times["gateway"].append(ended - middle)
    p50 = {name: statistics.median(found) * 1000 for name, found in times.items()}
    p95 = {name: statistics.quantiles(found, n=20)[18] * 1000 for name, found in times.items()}
    print(f"on {stand.engine_name()}, {rounds} rounds")
    print(f"direct   p50 {p50['direct']:.2f} ms, p95 {p95['direct']:.2f} ms")
    print(f"gateway  p50 {p50['gateway']:.2f} ms, p95 {p95['gateway']:.2f} ms")
    print(f"ratio    p50 {p50['gateway'] / p50['direct']:.3f} (bar: <= 1.15)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
