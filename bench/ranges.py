"""256 MB from a host that gives each connection 20 MB/s: several connections against one.

Run it with: python -m bench.ranges [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import uvloop

from bench.downloading import timed
from bench.file_host import filled, hosted
from gateway.storage.download import discard

SIZE = 256 << 20
RATE = 20 * 10**6
ROUNDS = 3


def main() -> None:
    """One stream's time is what the host allows it: size by rate."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-", dir=parent) as name:
        folder = Path(name)
        source = filled(folder / "source", SIZE)
        with hosted(source, RATE) as url:
            one = uvloop.run(timed(f"{url}/file", folder, connections=1))[0]
            discard(folder, "b" * 32)
            print(f"one stream {one:.2f} s")
            best = one
            for _ in range(ROUNDS):
                took, arrival = uvloop.run(timed(f"{url}/file", folder))
                assert arrival.path.read_bytes() == source.read_bytes()
                discard(folder, arrival.path.stem)
                best = min(best, took)
                print(f"several {took:.2f} s: {took / one:.3f} of it")
    print(f"256 MB at 20 MB/s a connection: {best / one:.3f} of one stream's time (bar: <= 0.2)")


if __name__ == "__main__":
    main()
