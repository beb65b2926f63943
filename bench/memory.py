"""Resident memory of the gateway: idle after its first prompt, and its peak while 24 answers of
16 MB are read at once.

Run it with: python -m bench.memory
"""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

import aiohttp
import numpy
from PIL import Image

from bench import stand

READERS = 24
_SIDE = 2000
_IDLE_S = 3.0


def resident(pid: int, field: str = "VmRSS") -> float:
    """Return the memory of a process in MB: VmRSS is now, VmHWM the highest so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def reset_peak(pid: int) -> None:
    """Let VmHWM begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def read_slowly(session: aiohttp.ClientSession, body: dict[str, object]) -> int:
    """Read an answer piece by piece, as a client on a slow line does; return its bytes."""
    size = 0
    async with session.post("/prompt", json=body) as response:
        response.raise_for_status()
        async for piece in response.content.iter_chunked(65536):
            size += len(piece)
            await asyncio.sleep(0.001)
    return size


async def main() -> None:
    """Measure the process itself; the engine is a process of its own."""
    pixels = numpy.random.default_rng(1).integers(0, 256, (_SIDE, _SIDE, 3), numpy.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    big = {
        "id": "big",
        "prompt": {
            "1": {
                "class_type": "LoadImage",
                "inputs": {"image": "big.png"},
            },
            "2": {
                "class_type": "SaveImage",
                "inputs": {"images": ["1", 0], "filename_prefix": "big"},
            },
        },
    }
    async with stand.running() as place:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(place.gateway, connector=connector) as session:
            await stand.through(session, place.gateway, stand.picture())
            await asyncio.sleep(_IDLE_S)
            idle = resident(place.pid)
            (place.folder / "input" / "big.png").write_bytes(buffer.getvalue())
            first = await read_slowly(session, big)
            reset_peak(place.pid)
            sizes = await asyncio.gather(*(read_slowly(session, big) for _ in range(READERS)))
            peak = resident(place.pid, "VmHWM")
    assert set(sizes) == {first}
    print(f"on {stand.engine_name()}")
    print(f"idle after the first prompt: {idle:.1f} MB (bar: <= 100)")
    print(f"peak with {READERS} answers of {first / 1e6:.1f} MB: {peak:.1f} MB (bar: <= 160)")


if __name__ == "__main__":
    asyncio.run(main())
