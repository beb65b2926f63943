"""What 100,000 queued jobs cost: a submit, a claim, a start, and the memory of the gateway.

Run it with: python -m bench.queue
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from bench import stand
from bench.memory import resident
from gateway.jobs.job import Job, Outcome, State, Want
from gateway.jobs.policy import FREE, Policy
from gateway.jobs.store import Store, open_store

MANY, FEW = 100_000, 100
KEYS = 20
ROUNDS = 3
#: Measured calls of each kind in a round.
CALLS = 200
_PAGE = 500
_IDLE_S = 3.0
#: ComfyUI is kept busy: each node takes so long.
_BUSY = "--slow 3600"

Timed = Callable[[Store, int], Awaitable[float]]


def a_job(number: int, **more: Any) -> Job:
    """Return a job that is like others."""
    fields = {"request": {}, "graph": stand.picture(color=number), "fingerprint": "f"}
    owner = f"key{number % KEYS}"
    return Job(**{"id": f"j{number}", "created_at": time.time(), "owner": owner, **fields, **more})


async def fill(store: Store, count: int, first: int = 0, **more: Any) -> None:
    """Queue many jobs."""
    for begin in range(first, first + count, _PAGE):
        page = range(begin, min(begin + _PAGE, first + count))
        await asyncio.gather(*(store.put(a_job(n, **more), durable=False) for n in page))


async def finish(store: Store, count: int) -> None:
    """End as many jobs as there are."""
    for _ in range(0, count, _PAGE):
        leases = await asyncio.gather(*(store.claim(Want()) for _ in range(_PAGE)))
        done = Outcome(State.SUCCEEDED, stand.picture(), {"outputs": [], "texts": []}, [])
        await asyncio.gather(*(store.finish(lease, done) for lease in leases if lease))


async def filled(folder: Path, queued: int, finished: int = 0, **more: Any) -> None:
    """Make a database of so many jobs."""
    store = await open_store(f"sqlite:{folder / 'jobs.db'}")
    await fill(store, finished)
    await finish(store, finished)
    await fill(store, queued, first=finished, **more)
    await store.close()


# Through the store


async def put_one(store: Store, number: int) -> float:
    """Return the seconds that a submit takes; the queue is as long as before afterwards."""
    new = a_job(number, id=f"new{number}")
    began = time.perf_counter()
    await store.put(new, durable=True)
    took = time.perf_counter() - began
    await store.cancel(new.id, {"code": "cancelled", "message": "", "status": 409})
    return took


async def claim_one(store: Store, number: int) -> float:
    """Return the seconds that a claim takes, with a few prepared jobs as a worker has them."""
    first = number % 50
    prepared = frozenset(f"j{n}" for n in range(first, first + 16))
    began = time.perf_counter()
    lease = await store.claim(Want(prepared))
    took = time.perf_counter() - began
    assert lease is not None
    await store.release(lease)
    return took


async def ratio(folder: Path, policy: Policy, timed: Timed, **more: Any) -> tuple[float, float]:
    """Return the best of the rounds, many / few, and its microseconds at many."""
    async with contextlib.AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(_opened(folder / name, count, policy, **more))
            for name, count in (("many", MANY), ("few", FEW))
        ]
        found = []
        for round_ in range(ROUNDS):
            times: list[list[float]] = [[], []]
            for call in range(CALLS):
                number = MANY * 10 + round_ * CALLS + call
                for which, store in enumerate(stores):
                    times[which].append(await timed(store, number))
            many, few = map(statistics.median, times)
            found.append((many / few, many * 1e6))
        return min(found)


@contextlib.asynccontextmanager
async def _opened(folder: Path, count: int, policy: Policy, **more: Any) -> AsyncIterator[Store]:
    if not folder.exists():
        folder.mkdir(parents=True)
        await filled(folder, count, **more)
    store = await open_store(f"sqlite:{folder / 'jobs.db'}", policy=policy)
    try:
        yield store
    finally:
        await store.close()


# Through the gateway


@contextlib.asynccontextmanager
async def serving(template: Path | None) -> AsyncIterator[stand.Stand]:
    """Run a gateway on a copy of a database, its engine busy."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        if template is not None:
            for file in template.iterdir():
                shutil.copy(file, name)
        async with stand.running(_BUSY, STATE_DIR=name, DRAIN_TIMEOUT_S="0") as place:
            yield place


async def submit(session: aiohttp.ClientSession, url: str, number: int) -> float:
    """Return the seconds until the 202."""
    body = {"prompt": stand.picture(color=number)}
    began = time.perf_counter()
    headers = {"Prefer": "respond-async"}
    async with session.post(f"{url}/prompt", json=body, headers=headers) as response:
        await response.read()
        assert response.status == 202
    return time.perf_counter() - began


async def over_http(many: Path, few: Path) -> tuple[float, float, float]:
    """Return submits at many / few, and the memory in MB with many and with few queued."""
    async with serving(many) as full, serving(few) as short, aiohttp.ClientSession() as session:
        await asyncio.sleep(_IDLE_S)
        memory = [resident(place.pid) for place in (full, short)]
        found = []
        for round_ in range(ROUNDS):
            times: list[list[float]] = [[], []]
            for call in range(CALLS):
                for which, place in enumerate((full, short)):
                    number = round_ * CALLS + call
                    times[which].append(await submit(session, place.gateway, number))
            found.append(statistics.median(times[0]) / statistics.median(times[1]))
    return min(found), memory[0], memory[1]


async def grown(count: int) -> tuple[float, float]:
    """Return the memory of a gateway in MB before and after so many jobs came over HTTP."""
    async with serving(None) as place, aiohttp.ClientSession() as session:
        for number in range(4):
            await submit(session, place.gateway, number)
        await asyncio.sleep(_IDLE_S)
        idle = resident(place.pid)
        numbers = iter(range(count))

        async def client() -> None:
            for number in numbers:
                await submit(session, place.gateway, number)

        await asyncio.gather(*(client() for _ in range(16)))
        await asyncio.sleep(_IDLE_S)
        return idle, resident(place.pid)


async def start_up(template: Path) -> float:
    """Return the seconds from the start of the process to /live."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        for file in template.iterdir():
            shutil.copy(file, name)
        return min([await _once(Path(name)) for _ in range(ROUNDS)])


async def _once(state: Path) -> float:
    port, comfy_port = stand.free_port(), stand.free_port()
    settings = {"STATE_DIR": str(state), "DRAIN_TIMEOUT_S": "0"}
    environ = stand.environment(state / "rest", port, comfy_port, _BUSY, settings)
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"), env=environ
    )
    try:
        async with aiohttp.ClientSession() as session:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/live") as response:
                        assert response.status == 200
                        return time.perf_counter() - began
                await asyncio.sleep(0.01)
        raise SystemExit("the gateway did not start")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def main(over_the_wire: int) -> None:
    """Measure many and few in turns, so that the noise of the machine falls on both."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        folder = Path(name)
        plain, fetching, both = folder / "plain", folder / "fetching", folder / "both"
        fair = Policy(is_fair=True)
        for title, bar, measured in (
            ("submit, store", 1.3, ratio(plain, FREE, put_one)),
            ("claim, store", 1.5, ratio(plain, FREE, claim_one)),
            (f"claim, {KEYS} keys in turn", 1.5, ratio(plain, fair, claim_one)),
            ("claim, all to be fetched", 1.5, ratio(fetching, FREE, claim_one, needs_fetch=True)),
        ):
            found, microseconds = await measured
            print(f"{title:26} {found:.2f} (bar: <= {bar}), {microseconds:.0f} us", flush=True)
        found, full, short = await over_http(plain / "many", plain / "few")
        print(f"{'submit, HTTP':26} {found:.2f} (bar: <= 1.3)")
        print(
            f"memory with {MANY} queued at the start: {full:.1f} MB, {full - short:+.1f} (<= +60)"
        )
        both.mkdir()
        await filled(both, MANY, MANY)
        print(f"start to /live: {await start_up(both):.2f} s (bar: <= 2)", flush=True)
        idle, after = await grown(over_the_wire)
        told = f"{after:.1f} MB, {after - idle:+.1f} (bar: <= +60)"
        print(f"memory after {over_the_wire} jobs over HTTP: {told}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY))
