"""Jobs with webhooks while the gateway and ComfyUI are killed, and the receiver is down half the
time: whether all that was promised is kept.

Run it with: python -m bench.chaos [--jobs 200] [--kills 10] [--seed N] [--keep]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from standardwebhooks import Webhook

from bench import stand
from bench.chaos_process import Gateway
from bench.chaos_work import Wanted, is_stock, planned, prepare_engine
from bench.receiver import Heard, Receiver, pictures

IN_FLIGHT = 4
#: Which webhook tells of which end.
TYPES = {
    "succeeded": "prompt.complete",
    "failed": "prompt.failed",
    "cancelled": "prompt.cancelled",
}
_SETTINGS = {
    "WEBHOOK_RETRY_DELAYS_S": "0.2,0.5,1",
    "WEBHOOK_MAX_ATTEMPTS": "1000",
    "OUTPUT_TTL_S": "0",
    "LOG_LEVEL": "info",
}


@dataclass(frozen=True)
class Size:
    """How much of it."""

    jobs: int = 200
    #: Of the gateway, and as many of ComfyUI.
    kills: int = 10
    #: Seconds a job's submission comes after the last one's, on average.
    pace_s: float = 0.2
    #: Longest work of a job, and longest turn of the receiver, seconds.
    longest_s: float = 2.0
    #: Longest pause before a kill, seconds.
    pause_s: float = 2.0
    #: Of the calls that hang, those that last until the gateway gives them up.
    for_ever: float = 0.1
    #: Seconds until all must be over once the last kill is done.
    patience_s: float = 300.0


@dataclass(frozen=True)
class Row:
    """One line of the table; a bar of None is told, not judged."""

    name: str
    value: Any
    bar: str | None = None
    is_met: bool = True

    def __str__(self) -> str:
        bar = "" if self.bar is None else f"  (bar: {self.bar}) {'ok' if self.is_met else 'MISSED'}"
        return f"{self.name:44} {self.value}{bar}"


def exactly(name: str, value: Any, bar: Any) -> Row:
    """Return a line whose value must be the bar."""
    return Row(name, value, str(bar), value == bar)


@dataclass
class Record:
    """What the run did, and what it found at the end."""

    seed: int
    wanted: list[Wanted]
    gateway_kills: list[float] = field(default_factory=list)
    child_kills: int = 0
    #: Jobs not heard of yet at the last kill.
    left_at_last_kill: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    deliveries: Counter[str] = field(default_factory=Counter)
    history: int = -1
    processes_left: list[str] = field(default_factory=list)
    outputs_left: list[str] = field(default_factory=list)
    unasked_ends: int = 0
    errors: list[str] = field(default_factory=list)
    duration_s: float = 0.0


def repeats(heard: list[Heard], kills: list[float]) -> tuple[Counter[float], int]:
    """Return the repeated calls of each kill, and how many no kill explains; pure."""
    by_kill: Counter[float] = Counter()
    unexplained = 0
    last: dict[str, float] = {}
    for call in heard:
        before = last.get(call.id)
        last[call.id] = call.began_at
        if before is None:
            continue
        between = [at for at in kills if before <= at <= call.began_at]
        if between:
            by_kill[between[0]] += 1
        else:
            unexplained += 1
    return by_kill, unexplained


def table(record: Record, receiver: Receiver) -> list[Row]:
    """Return what was found, line by line; pure."""
    count = len(record.wanted)
    ids = {one.id for one in record.wanted}
    states = Counter(job["state"] for job in record.jobs.values())
    over = sum(states[name] for name in TYPES)
    heard = {call.id for call in receiver.heard}
    told = {(call.id, call.body["type"]) for call in receiver.heard}
    differing = {
        job_id
        for job_id, said in told
        if job_id not in record.jobs or TYPES.get(record.jobs[job_id]["state"]) != said
    }
    empty = [
        call.id
        for call in receiver.heard
        if call.body["type"] == "prompt.complete"
        and (call.body["id"] != call.id or len(call.body["images"]) != 1)
    ]
    by_kill, unexplained = repeats(receiver.heard, record.gateway_kills)
    most = max(by_kill.values(), default=0)
    by_state = ", ".join(f"{name} {number}" for name, number in sorted(states.items()))
    codes = Counter(job["error"]["code"] for job in record.jobs.values() if "error" in job)
    attempts = Counter(job["attempt"] for job in record.jobs.values())
    ends = ", ".join(f"{name} {number}" for name, number in sorted(receiver.calls.items()))
    return [
        Row("kill -9 of the gateway", len(record.gateway_kills)),
        Row("kill -9 of ComfyUI", record.child_kills),
        Row("not heard of yet at the last kill", record.left_at_last_kill),
        Row("receiver down", f"{receiver.down_share:.0%}; calls: {ends}"),
        Row("states", by_state),
        Row("errors", dict(codes)),
        Row("jobs by attempt", dict(sorted(attempts.items()))),
        exactly("terminal states", over, count),
        exactly("jobs heard of, signature valid", len(heard & ids), count),
        exactly("lost", len(ids - (heard & set(record.jobs))), 0),
        exactly("calls for no job of ours", len(heard - ids), 0),
        exactly("calls with an invalid signature", len(receiver.invalid), 0),
        exactly("complete, but not with its one picture", len(empty), 0),
        exactly("GET /jobs differs from the webhook", len(differing), 0),
        Row("repeated by one kill, most", most, f"<= {IN_FLIGHT}", most <= IN_FLIGHT),
        Row("repeated in all", sum(by_kill.values())),
        exactly("repeated without a kill", unexplained, 0),
        exactly("deliveries pending", record.deliveries["pending"], 0),
        exactly("dead letters", record.deliveries["dead"], 0),
        exactly("ends of the gateway that nobody asked for", record.unasked_ends, 0),
        exactly("errors in the log", "; ".join(record.errors)[:500] or 0, 0),
        exactly("ComfyUI's history", record.history, 0),
        exactly("output files left", ", ".join(record.outputs_left) or 0, 0),
        exactly("processes left after the stop", len(record.processes_left), 0),
        Row("seconds", f"{record.duration_s:.0f}"),
    ]


class Client:
    """Sends jobs until each is accepted: the same id joins, so nothing runs twice."""

    def __init__(self, session: aiohttp.ClientSession, chance: random.Random, hook: str) -> None:
        self._session = session
        self._chance = chance
        self._hook = hook

    async def submit(self, wanted: Wanted) -> None:
        """Post one job, and cancel it where that is wanted; whatever the gateway is doing."""
        await asyncio.sleep(wanted.at_s)
        body = {"id": wanted.id, "prompt": wanted.workflow, "webhook_v2": self._hook}
        status, found = await self._insist("POST", "/prompt", body)
        # 500 and the like: joined a job that had failed already.
        if status not in (200, 202) and not ("code" in found and found.get("id") == wanted.id):
            raise RuntimeError(f"{wanted.id} was answered with {status}: {found}")
        if wanted.is_cancelled:
            status, found = await self._insist("POST", f"/jobs/{wanted.id}/cancel", None)
            if status not in (200, 202):
                raise RuntimeError(f"cancelling {wanted.id}: {status}: {found}")

    async def get(self, path: str) -> dict[str, Any]:
        """Return what a path says, whenever the gateway can say it."""
        return (await self._insist("GET", path, None))[1]

    async def all_of(self, path: str, name: str) -> list[dict[str, Any]]:
        """Return the entries of every page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.get(f"{path}limit=100{cursor}")
            found += page[name]
            if "next_cursor" not in page:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def _insist(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.request(method, path, json=body) as response:
                    found = await response.json()
                    if response.status not in (429, 503):
                        return response.status, found
            await asyncio.sleep(self._chance.uniform(0.1, 0.4))


async def kill_at_random(
    gateway: Gateway, receiver: Receiver, record: Record, chance: random.Random, size: Size
) -> None:
    """Kill both, in random order; every second time only once the gateway is ready.

    One kill in three is aimed: it comes as the receiver answers, before that can be recorded.
    """
    victims = ["gateway", "child"] * size.kills
    chance.shuffle(victims)
    for victim in victims:
        if chance.random() < 0.5:
            await gateway.until_ready()
        await asyncio.sleep(chance.uniform(0.0, size.pause_s))
        if chance.random() < 1 / 3:
            await receiver.until_answering(2 * size.longest_s)
        if victim == "gateway":
            record.gateway_kills.append(gateway.kill())
        else:
            await gateway.kill_child()
            record.child_kills += 1


async def until(
    predicate: Callable[[], Awaitable[bool]], patience_s: float, pause_s: float = 0.3
) -> bool:
    """Return whether it came true in time."""
    deadline = time.monotonic() + patience_s
    while not await predicate():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(pause_s)
    return True


async def settled(client: Client, receiver: Receiver, record: Record, patience_s: float) -> None:
    """Wait until nothing is owed any more, at most so long; then note how all stands."""

    async def is_quiet() -> bool:
        if len({call.id for call in receiver.heard}) < len(record.wanted):
            return False
        found = await client.get("/webhooks/deliveries?state=pending&limit=1")
        return not found["deliveries"]

    await until(is_quiet, patience_s)
    record.jobs = {job["id"]: job for job in await client.all_of("/jobs?", "jobs")}
    calls = await client.all_of("/webhooks/deliveries?", "deliveries")
    record.deliveries = Counter(call["state"] for call in calls)


async def note_files(gateway: Gateway, record: Record) -> None:
    """Give the janitor its two rounds, and note what it left."""

    async def is_clean() -> bool:
        record.outputs_left = gateway.outputs()
        return not record.outputs_left

    await until(is_clean, 3.0)


async def note_history(session: aiohttp.ClientSession, gateway: Gateway, record: Record) -> None:
    """Note what ComfyUI remembers; the gateway deletes an entry right after the job."""

    async def is_empty() -> bool:
        async with session.get(f"{gateway.comfy}/history") as response:
            record.history = len(await response.json())
        return record.history == 0

    await gateway.until_ready()
    await until(is_empty, 3.0)


async def run(size: Size, seed: int, folder: Path) -> list[Row]:
    """Do all of it, and return the table."""
    chance = random.Random(seed)
    key = secrets.token_bytes(32)
    began = time.monotonic()
    receiver = Receiver(Webhook(key), random.Random(chance.random()), size.for_ever)
    secret = f"whsec_{base64.b64encode(key).decode()}"
    flags, more = prepare_engine(folder)
    settings = {**_SETTINGS, **more, "WEBHOOK_SECRET": secret}
    async with pictures(random.Random(chance.random())) as host, receiver.running(size.longest_s):
        record = Record(seed, planned(size.jobs, chance, host, size.pace_s, size.longest_s))
        gateway = Gateway(folder, flags, settings)
        timeout = aiohttp.ClientTimeout(total=15)
        async with (
            gateway.running(),
            aiohttp.ClientSession(gateway.url, timeout=timeout) as session,
        ):
            client = Client(session, random.Random(chance.random()), receiver.url)
            await gateway.until_ready()
            async with asyncio.TaskGroup() as group:
                for wanted in record.wanted:
                    group.create_task(client.submit(wanted))
                group.create_task(kill_at_random(gateway, receiver, record, chance, size))
            record.left_at_last_kill = size.jobs - len({call.id for call in receiver.heard})
            await settled(client, receiver, record, size.patience_s)
            await note_files(gateway, record)
            await note_history(session, gateway, record)
        record.processes_left = gateway.processes()
        record.unasked_ends = gateway.unasked_ends
        record.errors = gateway.errors()
    record.duration_s = time.monotonic() - began
    return table(record, receiver)


def main() -> None:
    """Print the seed first, so that a run that hangs can be done again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10, help="of the gateway, and of ComfyUI")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--keep", action="store_true", help="keep the folder with the log")
    given = parser.parse_args()
    print(f"{given.jobs} jobs on {stand.engine_name()}, seed {given.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="comfy-gateway-bench-"))
    # ComfyUI takes seconds to start: some kills shall find it at work.
    size = Size(given.jobs, given.kills, pause_s=8.0 if is_stock() else 2.0)
    rows = asyncio.run(run(size, given.seed, folder))
    print(*rows, sep="\n")
    is_met = all(row.is_met for row in rows)
    if given.keep or not is_met:
        print(f"the log: {folder / 'log'}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
