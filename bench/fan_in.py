"""64 prompts at once with one input URL: how many succeed, how often the URL is fetched.

Run it with: python -m bench.fan_in
"""

from __future__ import annotations

import asyncio
import struct
import zlib

import aiohttp
from aiohttp import web

from bench import stand

PROMPTS = 64


def png(side: int) -> bytes:
    """Return a black picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(3 * side) for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


async def main() -> None:
    """Serve one picture, and count who asks for it."""
    fetched = 0

    async def picture(_: web.Request) -> web.Response:
        nonlocal fetched
        fetched += 1
        await asyncio.sleep(0.2)
        return web.Response(body=png(64), content_type="image/png")

    app = web.Application()
    app.router.add_get("/in.png", picture)
    runner = web.AppRunner(app)
    await runner.setup()
    port = stand.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    connector = aiohttp.TCPConnector(limit=0)
    async with stand.running() as place, aiohttp.ClientSession(connector=connector) as session:

        async def one(number: int) -> bool:
            workflow = {
                "1": {"class_type": "LoadImage", "inputs": {"image": f"{host}/in.png"}},
                "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
                "3": {
                    "class_type": "SaveImage",
                    "inputs": {"images": ["2", 0], "filename_prefix": f"fan{number}"},
                },
            }
            answer = await stand.through(session, place.gateway, workflow)
            return len(answer["images"]) == 1

        host = f"http://127.0.0.1:{port}"
        done = await asyncio.gather(*(one(n) for n in range(PROMPTS)), return_exceptions=True)
    await runner.cleanup()
    print(f"on {stand.engine_name()}")
    print(f"succeeded {done.count(True)} of {PROMPTS} (bar: 64)")
    print(f"fetched   {fetched} times (bar: once)")


if __name__ == "__main__":
    asyncio.run(main())
