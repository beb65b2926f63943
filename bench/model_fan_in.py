"""100 jobs at once with one uncached model of 100 MB: how many succeed, how often it is fetched.

Run it with: python -m bench.model_fan_in
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from bench import stand, weights

JOBS = 100
SIZE = 100 << 20


@dataclass
class Origin:
    """Serves one file, also in parts, and counts what really goes out."""

    source: Path
    #: Requests for the beginning of the file: one for each fetch.
    begun: int = 0
    sent: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send what is asked for."""
        span = request.http_range
        start, end = span.start or 0, min(span.stop or SIZE, SIZE)
        self.begun += start == 0
        response = web.StreamResponse(status=206 if "Range" in request.headers else 200)
        response.headers["ETag"] = '"1"'
        response.headers["Accept-Ranges"] = "bytes"
        response.content_length = end - start
        if response.status == 206:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{SIZE}"
        await response.prepare(request)
        with self.source.open("rb") as file:
            file.seek(start)
            while start < end:
                chunk = file.read(min(1 << 18, end - start))
                await response.write(chunk)
                start += len(chunk)
                self.sent += len(chunk)
        return response


async def main() -> None:
    """Ask for one model in all jobs at once."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        origin = Origin(Path(name) / "vae.safetensors")
        weights.write(origin.source, SIZE)
        app = web.Application()
        app.router.add_get("/vae.safetensors", origin.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/vae.safetensors"
        done, took = await _run(url, str(Path(name) / "models"))
        await runner.cleanup()
    print(f"succeeded {done.count(True)} of {JOBS} (bar: 100)")
    print(f"fetches   {origin.begun} (bar: 1), {origin.sent / SIZE:.2f} times the file's bytes")
    print(f"took      {took:.1f} s")


async def _run(url: str, models: str) -> tuple[list[bool | BaseException], float]:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        stand.running(MODEL_DIR=models) as place,
        aiohttp.ClientSession(connector=connector) as session,
    ):

        async def one(number: int) -> bool:
            workflow = weights.decoding(url, f"fan{number}")
            answer = await stand.through(session, place.gateway, workflow)
            return len(answer["images"]) == 1

        began = time.monotonic()
        done = await asyncio.gather(*(one(n) for n in range(JOBS)), return_exceptions=True)
        return list(done), time.monotonic() - began


if __name__ == "__main__":
    asyncio.run(main())
