"""10 jobs, each with an input that takes 1 s to fetch and 1 s to run, submitted at once:
total / compute alone.

The embedded engine takes 1 s for a job with --slow; in front of stock ComfyUI a custom node
sleeps for 1 s.

Run it with: python -m bench.overlap
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench import stand
from bench.fan_in import png

JOBS = 10
SECONDS = 1.0

SLEEPER = """
import time

class BenchSleep:
    CATEGORY = "bench"
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",), "seed": ("INT", {"default": 0})}}

    def run(self, images, seed):
        time.sleep(1.0)
        return (images,)

NODE_CLASS_MAPPINGS = {"BenchSleep": BenchSleep}
"""


def workflow(url: str, number: int) -> dict[str, Any]:
    """Return a graph that takes 1 s, whatever the engine."""
    middle: dict[str, Any] = {
        "2": {"class_type": "BenchSleep", "inputs": {"images": ["1", 0], "seed": number}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "o"}},
    }
    if not os.environ.get("COMFY_HOME"):
        # Each of its two nodes takes half a second (--slow 0.5).
        middle = {
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "o"}}
        }
    return {"1": {"class_type": "LoadImage", "inputs": {"image": f"{url}/{number}.png"}}, **middle}


async def main() -> None:
    """Serve pictures that take a second each, and send ten jobs at once."""

    async def picture(request: web.Request) -> web.Response:
        await asyncio.sleep(SECONDS)
        side = 32 + int(request.match_info["number"])
        return web.Response(body=png(side), content_type="image/png")

    app = web.Application()
    app.router.add_get("/{number}.png", picture)
    runner = web.AppRunner(app)
    await runner.setup()
    port = stand.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-nodes-") as nodes:
        (Path(nodes) / "bench_sleep.py").write_text(SLEEPER)
        is_stock = bool(os.environ.get("COMFY_HOME"))
        flags = "" if is_stock else f"--slow {SECONDS / 2}"
        async with (
            stand.running(flags, CUSTOM_NODES_DIR=nodes) as place,
            aiohttp.ClientSession() as session,
        ):
            began = time.perf_counter()
            url = f"http://127.0.0.1:{port}"
            await asyncio.gather(
                *(stand.through(session, place.gateway, workflow(url, n)) for n in range(JOBS))
            )
            total = time.perf_counter() - began
    await runner.cleanup()
    compute = JOBS * SECONDS
    print(f"on {stand.engine_name()}")
    print(f"total {total:.2f} s, compute alone {compute:.2f} s")
    print(f"ratio {total / compute:.3f} (bar: <= 1.15)")


if __name__ == "__main__":
    asyncio.run(main())
