"""A host of one file for the benches: parts of it, fast, or as slow for each connection as told.

Run it with: python -m bench.file_host FILE [BYTES_A_SECOND]; it prints its port. `/sent` tells the
bytes that clients have been given.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_RANGE = re.compile(rb"(?im)^range: bytes=(\d+)-(\d*)")
_STEP = 1 << 20
_SLOW_STEP = 1 << 16


class FileHost:
    """Serves until killed."""

    def __init__(self, path: Path, rate: int | None) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._size = path.stat().st_size
        self._rate = rate
        self._lock = threading.Lock()
        self._sent = 0

    def run(self) -> None:
        """Take connections, each in a thread of its own."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        waiting = b""
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                while b"\r\n\r\n" not in waiting:
                    received = connection.recv(65536)
                    if not received:
                        return
                    waiting += received
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                self._answer(connection, head)

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        if head.startswith(b"GET /sent"):
            body = str(self._sent).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        found = _RANGE.search(head)
        start = int(found[1]) if found else 0
        end = int(found[2]) + 1 if found and found[2] else self._size
        where = b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, self._size)
        status = b"206 Partial Content\r\n" + where if found else b"200 OK\r\n"
        connection.sendall(
            b'HTTP/1.1 %bETag: "1"\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\n\r\n'
            % (status, end - start)
        )
        self._send(connection, start, end)

    def _send(self, connection: socket.socket, start: int, end: int) -> None:
        began, first = time.monotonic(), start
        step = _STEP if self._rate is None else _SLOW_STEP
        while start < end:
            sent = os.sendfile(connection.fileno(), self._file, start, min(step, end - start))
            start += sent
            with self._lock:
                self._sent += sent
            if self._rate is not None:
                due = began + (start - first) / self._rate
                time.sleep(max(0.0, due - time.monotonic()))


@contextlib.contextmanager
def hosted(path: Path, rate: int | None = None) -> Iterator[str]:
    """Serve a file from a process of its own; yields where, without a path."""
    how = [] if rate is None else [str(rate)]
    command = [sys.executable, "-m", "bench.file_host", str(path), *how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def filled(path: Path, size: int) -> Path:
    """Write a file of bytes that nothing can shrink."""
    block = os.urandom(1 << 22)
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: size - start])
        file.flush()
        os.fsync(file.fileno())
    return path


if __name__ == "__main__":
    FileHost(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None).run()
