"""Where the data of a safetensors file ends, as its header has it.

A large header takes seconds to parse, in which no other thread of the process runs, and much
memory: so it is parsed by this file as a program, alone, which imports nothing of the gateway's.
It is given the length of the header, and the file as its input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import CancelledError
from threading import Event
from typing import Any, BinaryIO

import orjson

#: Above this, starting a process takes less time than parsing holds up the others.
LARGE = 8 << 20
_EVERY_S = 0.2
#: Where the header begins.
_BEGIN = 8


class Misfit(Exception):
    """A header is not what it should be: `expected`, and `found` instead."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found


def data_end(file: BinaryIO, length: int, stop: Event | None = None) -> int:
    """Return where the last tensor ends; each must begin where the one before it ends.

    Raises Misfit, OSError, and CancelledError once `stop` is set while a large one is parsed.
    """
    return _end_alone(file, length, stop or Event()) if length > LARGE else _end(file, length)


def _end_alone(file: BinaryIO, length: int, stop: Event) -> int:
    command = [sys.executable, "-I", __file__, str(length)]
    with subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        told = _told(process, stop)
    if process.returncode != 0:
        raise Misfit("a header that can be read", f"{length:,} bytes that take too much to read")
    found: Any = json.loads(told)
    if isinstance(found, int):
        return found
    raise Misfit(*found)


def _told(process: subprocess.Popen[bytes], stop: Event) -> bytes:
    try:
        while not stop.is_set():
            try:
                return process.communicate(timeout=_EVERY_S)[0]
            except subprocess.TimeoutExpired:
                continue
        raise CancelledError
    finally:
        process.kill()


def _end(file: BinaryIO, length: int) -> int:
    file.seek(_BEGIN)
    try:
        header: Any = orjson.loads(file.read(length))
    except orjson.JSONDecodeError as failure:
        raise Misfit("a header in JSON", f"a header that cannot be read ({failure.msg})") from None
    if not isinstance(header, dict):
        raise Misfit("a header that is an object", f"a header that is a {type(header).__name__}")
    spans = sorted(_span(name, entry) for name, entry in header.items() if name != "__metadata__")
    at = 0
    for start, end, name in spans:
        if start != at:
            raise Misfit(f"{name[:80]!r} at byte {at:,} of the data", f"it at byte {start:,}")
        at = end
    return at


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    match offsets:
        case [int(start), int(end)] if 0 <= start <= end:
            return start, end, name
    raise Misfit(f"the offsets of {name[:80]!r}", "none that can be")


def main() -> None:
    """Tell where the data ends, or what is wrong, as a line of JSON."""
    found: object
    try:
        with open(0, "rb", closefd=False) as file:
            found = _end(file, int(sys.argv[1]))
    except Misfit as misfit:
        found = [misfit.expected, misfit.found]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
