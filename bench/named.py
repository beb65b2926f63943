"""What a name costs: /workflow/<name> against /prompt with the same graph, requests in turn.

Run it with: python -m bench.named [requests]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from bench import stand

ROUNDS = 3
BAR_MS = 0.5
NAME = "picture"
MANIFEST = """\
parameters:
  side: {type: integer, default: 64, min: 16, max: 4096, bind: [1.inputs.width, 1.inputs.height]}
  color: {type: integer, default: 0, min: 0, max: 16777215, bind: 1.inputs.color}
  name: {type: string, default: bench, bind: 2.inputs.filename_prefix}
"""


def write(folder: Path) -> None:
    """Put the workflow and its manifest into a folder."""
    (folder / f"{NAME}.json").write_text(json.dumps(stand.picture()))
    (folder / f"{NAME}.yaml").write_text(MANIFEST)


async def took(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> float:
    """Return the milliseconds until a request was answered."""
    began = time.perf_counter()
    async with session.post(url, json=body) as response:
        raw = await response.read()
    elapsed = (time.perf_counter() - began) * 1000
    if response.status != 200:
        raise SystemExit(f"{response.status}: {raw[:500]!r}")
    return elapsed


async def measured(url: str, requests: int, turn: int) -> tuple[float, float]:
    """Return the p50 of both ways, milliseconds; each picture is one that ComfyUI has to make."""
    plain: list[float] = []
    named: list[float] = []
    async with aiohttp.ClientSession(url) as session:
        for number in range(requests):
            color = 2 * (turn * requests + number)
            graph = stand.picture(color=color)
            given = {"side": 64, "color": color + 1, "name": "bench"}
            ways = [
                (plain, "/prompt", {"prompt": graph}),
                (named, f"/workflow/{NAME}", {"input": given}),
            ]
            # Whoever comes second finds the machine as the first one left it.
            for times, path, body in reversed(ways) if number % 2 else ways:
                times.append(await took(session, path, body))
    return median(plain), median(named)


async def main(requests: int) -> None:
    """Quote the best of three rounds."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        async with stand.running(WORKFLOW_DIR=folder) as place:
            await measured(place.gateway, 20, ROUNDS)
            rounds = [await measured(place.gateway, requests, turn) for turn in range(ROUNDS)]
    print(f"{ROUNDS} rounds of {requests} requests each way, on {stand.engine_name()}")
    for plain, named in rounds:
        print(f"p50 /prompt {plain:.2f} ms, /workflow/{NAME} {named:.2f} ms: {named - plain:+.2f}")
    best = min(named - plain for plain, named in rounds)
    print(f"the name costs, best of {ROUNDS}: {best:+.2f} ms (bar: <= +{BAR_MS} ms)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
