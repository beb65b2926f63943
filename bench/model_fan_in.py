"""100 jobs at once with one uncached model of 100 MB: how many succeed, how often it is fetched.

Run it with: python -m bench.model_fan_in
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from bench import stand, weights

JOBS = 100
SIZE = 100 << 20


async def main() -> None:
    """Serve one file, and count the bytes that are asked for."""
    sent = 0

    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        source = Path(name) / "vae.safetensors"
        weights.write(source, SIZE)

        async def answer(request: web.Request) -> web.StreamResponse:
            nonlocal sent
            span = request.http_range
            sent += (span.stop or SIZE) - (span.start or 0)
            return web.FileResponse(source)

        app = web.Application()
        app.router.add_get("/vae.safetensors", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/vae.safetensors"
        connector = aiohttp.TCPConnector(limit=0)
        models = {"MODEL_DIR": str(Path(name) / "models")}
        async with (
            stand.running(**models) as place,
            aiohttp.ClientSession(connector=connector) as session,
        ):

            async def one(number: int) -> bool:
                workflow = weights.decoding(url, f"fan{number}")
                answer = await stand.through(session, place.gateway, workflow)
                return len(answer["images"]) == 1

            began = time.monotonic()
            done = await asyncio.gather(*(one(n) for n in range(JOBS)), return_exceptions=True)
            took = time.monotonic() - began
        await runner.cleanup()
    print(f"succeeded {done.count(True)} of {JOBS} (bar: 100)")
    print(f"fetched   {sent / SIZE:.2f} times the file (bar: 1)")
    print(f"took      {took:.1f} s")


if __name__ == "__main__":
    asyncio.run(main())
