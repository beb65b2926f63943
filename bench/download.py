"""2 GB over loopback, against curl of the same file to the same disk and a sync of it.

Run it with: python -m bench.download [FOLDER]; FOLDER is on the disk that is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.downloading import timed
from bench.file_host import filled, hosted
from gateway.storage.download import discard

SIZE = 2 << 30
ROUNDS = 3


def by_curl(url: str, folder: Path) -> float:
    """Return the seconds of curl and of a sync of what it wrote."""
    path = folder / "curl"
    began = time.perf_counter()
    subprocess.run(["curl", "-sS", "-f", "-o", str(path), url], check=True)
    subprocess.run(["sync", str(path)], check=True)
    took = time.perf_counter() - began
    path.unlink()
    return took


def by_us(url: str, folder: Path) -> float:
    """Return the seconds of the gateway's engine; its file is safe on the disk then."""
    took, arrival = uvloop.run(timed(url, folder))
    assert arrival.size == SIZE
    discard(folder, arrival.path.stem)
    return took


def main() -> None:
    """Measure in turns, so that a disk that is slow for a while is slow for both."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-", dir=parent) as name:
        folder = Path(name)
        ratios = []
        with hosted(filled(folder / "source", SIZE)) as url:
            for _ in range(ROUNDS):
                os.sync()
                theirs = by_curl(f"{url}/file", folder)
                os.sync()
                ours = by_us(f"{url}/file", folder)
                ratios.append(ours / theirs)
                print(f"curl and sync {theirs:.2f} s, ours {ours:.2f} s: {ours / theirs:.2f} x")
    print(f"2 GB over loopback: {min(ratios):.2f} x the time of curl and sync (bar: <= 1.1)")


if __name__ == "__main__":
    main()
