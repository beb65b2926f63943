"""202 answers per second, each for a job that is on disk; one client connection per core.

The engine is busy with a job that does not end, so that what is measured is the taking in.
Run it with: python -m bench.accept [seconds]
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sys
import time
from urllib.parse import urlsplit

from bench import stand

ROUNDS = 3
BAR = 1000.0


def send(url: str, seconds: float, name: str, counts: multiprocessing.Queue[int]) -> None:
    """Post one prompt after the other over one connection, as closely as they are answered."""
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            connection.sendall(_request(place.netloc, f"{name}-{count}"))
            _check(connection)
            count += 1
    counts.put(count)


def _request(host: str, job_id: str) -> bytes:
    asked = {"id": job_id, "prompt": stand.picture(), "webhook_v2": "http://127.0.0.1:9/"}
    body = json.dumps(asked).encode()
    head = (
        f"POST /prompt HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _check(connection: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 202"):
        raise SystemExit(answer.decode())
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) - len(body)
    while left > 0:
        left -= len(connection.recv(left))


async def _rate(url: str, connections: int, seconds: float, turn: int) -> float:
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[int] = context.Queue()
    clients = [
        context.Process(target=send, args=(url, seconds, f"{turn}-{number}", counts))
        for number in range(connections)
    ]
    for client in clients:
        client.start()
    found = [await asyncio.to_thread(counts.get) for _ in clients]
    for client in clients:
        await asyncio.to_thread(client.join)
    return sum(found) / seconds


async def main(seconds: float) -> None:
    """Quote the best of three rounds."""
    connections = os.cpu_count() or 1
    # COMFY_HOME is left out: the engine has nothing to do here, and that one can be told to hang.
    os.environ.pop("COMFY_HOME", None)
    async with stand.running("--hang-node", DRAIN_TIMEOUT_S="0") as place:
        rates = [await _rate(place.gateway, connections, seconds, turn) for turn in range(ROUNDS)]
    print(f"{connections} connections, {ROUNDS} rounds of {seconds:g} s")
    told = ", ".join(f"{rate:.0f}" for rate in rates)
    print(f"202 answers per second: {told}; best {max(rates):.0f} (bar: >= {BAR:.0f})")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
