"""Resident memory of a process while it downloads 4 files of 1 GB at once, above what it has idle.

Run it with: python -m bench.download_memory [FOLDER]
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.downloading import downloader, order
from bench.file_host import filled, hosted
from bench.memory import reset_peak, resident
from gateway.storage.download import discard

SIZE = 1 << 30
FILES = 4
#: Bytes a second of one connection; None is as fast as loopback goes.
RATES = (None, 25 * 10**6)


async def measure(first: str, url: str, folder: Path) -> tuple[float, float]:
    """Return MB before and at the peak; before is after a first small download."""
    async with downloader() as found:
        await found.run(order(f"{first}/first", folder, "first"))
        discard(folder, "first")
        idle = resident(os.getpid())
        reset_peak(os.getpid())
        stems = [f"{number}" * 32 for number in range(FILES)]
        arrivals = await asyncio.gather(
            *(found.run(order(f"{url}/{stem}", folder, stem)) for stem in stems)
        )
        peak = resident(os.getpid(), "VmHWM")
    assert {arrival.size for arrival in arrivals} == {SIZE}
    for stem in stems:
        discard(folder, stem)
    return idle, peak


def main() -> None:
    """Print the figures, at two speeds."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-", dir=parent)
            )
        )
        small = filled(folder / "small", 1 << 20)
        source = filled(folder / "source", SIZE)
        for rate in RATES:
            speed = "loopback's speed" if rate is None else f"{rate / 10**6:.0f} MB/s a connection"
            with hosted(source, rate) as url, hosted(small) as first:
                # In a process of its own: what one has taken it does not give back.
                command = [sys.executable, "-m", "bench.download_memory", first, url, str(folder)]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            idle, peak = map(float, told.split())
            print(
                f"4 files of 1 GB at {speed}: idle {idle:.1f} MB, peak {peak:.1f} MB, "
                f"{peak - idle:.1f} MB more (bar: <= 40)"
            )


if __name__ == "__main__":
    if len(sys.argv) > 3:
        print(*uvloop.run(measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
