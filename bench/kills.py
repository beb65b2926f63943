"""Downloads killed with SIGKILL at random instants, and gone on with by a new process each time.

Run it with: python -m bench.kills [FOLDER]
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.file_host import filled, hosted
from gateway.storage.download import discard

SIZE = 256 << 20
KILLS = 50
#: Bytes a second of one connection; None is as fast as loopback goes.
RATES = (None, 40 * 10**6)
#: Seconds until a process is killed, at most.
LONGEST = {None: 0.5, 40 * 10**6: 1.2}
STEM = "b" * 32


def sent(url: str) -> int:
    """Return the bytes that the host has given away."""
    with urllib.request.urlopen(f"{url}/sent") as answer:
        return int(answer.read())


def killed(url: str, folder: Path, seconds: float) -> bool:
    """Start a download and kill it after some seconds of it; whether it was killed in time."""
    command = [sys.executable, "-m", "bench.downloading", f"{url}/file", str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        # The modules are loaded: the instants shall fall into the download.
        process.stdout.readline()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("\n")
            process.stdin.flush()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        assert process.returncode == 0, process.stderr and process.stderr.read()
        return False


def main() -> None:
    """Kill, go on, and compare what is there when a process comes to the end."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    random.seed(3)
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-", dir=parent) as name:
        folder = Path(name)
        source = filled(folder / "source", SIZE)
        content = source.read_bytes()
        for rate in RATES:
            with hosted(source, rate) as url:
                kills = files = wrong = 0
                while kills < KILLS:
                    while killed(url, folder, random.uniform(0, LONGEST[rate])):
                        kills += 1
                    files += 1
                    wrong += (folder / f"{STEM}.part").read_bytes() != content
                    discard(folder, STEM)
                again = sent(url) - files * SIZE
            speed = "loopback's speed" if rate is None else f"{rate / 10**6:.0f} MB/s a connection"
            print(
                f"{kills} kills over {files} files of 256 MB at {speed}: {wrong} wrong files, "
                f"{again / kills / SIZE:.1%} of the file fetched again by a kill (bar: <= 10%)"
            )


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"in {time.monotonic() - began:.0f} s")
