"""What 100,000 remembered pictures cost: a search by words, a page, and the end of a job.

Run it with: python -m bench.generations
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bench import stand
from gateway import clock
from gateway.jobs.job import Job, Outcome, State, Want
from gateway.jobs.store import Store, open_store

MANY = 100_000
ROUNDS, CALLS = 3, 200
_PAGE = 500
#: One picture in so many seconds.
_APART_S = 10.0
_LORAS, _WORKFLOWS = 40, 7
_NEGATIVE = ("blurry", "lowres", "bad anatomy", "watermark", "text", "jpeg artifacts")

_numbers = itertools.count()


def prompts() -> Iterator[str]:
    """Yield prompts of 15 to 50 words that are as common as words of a language are."""
    rng = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(8000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    for number in itertools.count():
        found = rng.choices(words, weights, k=rng.randint(15, 50))
        if rng.random() < 0.3:
            found.insert(3, "portrait")
        if rng.random() < 0.1:
            found[5:5] = ["golden", "hour"]
        if rng.random() < 0.05:
            found.insert(7, "golden")
        if number % 1000 == 500:
            found.insert(1, "sunset")
        yield ", ".join(found)


def result(prompt: str, number: int, ended_at: float) -> dict[str, Any]:
    """Return what a job of text to image has made."""
    end = ended_at * 1000
    rng = random.Random(number)
    recipe = {
        "prompt": prompt,
        "negative_prompt": ", ".join(rng.sample(_NEGATIVE, 3)),
        "seed": rng.getrandbits(64),
        "steps": 20,
        "cfg": 7.0,
        "sampler": rng.choice(("euler", "dpmpp_2m", "ddim")),
        "scheduler": "karras",
        "denoise": 1.0,
        "width": 1024,
        "height": 1024,
        "loras": [{"name": f"lora{number % _LORAS}.safetensors", "strength": 0.8}],
        "models": [{"folder": "checkpoints", "name": "sdxl.safetensors", "sha256": "a" * 64}],
    }
    entry = {"node_id": "9", "index": 0, "filename": f"{number}.png", "path": "/", "size": 1}
    return {
        "outputs": [{**entry, "type": "output", "content_type": "image/png"}],
        "texts": [],
        "recipes": {"9": recipe},
        "versions": {"gateway": "1", "comfyui": "1"},
        "stats": {"comfy_execution": {"start": end - 3000, "end": end, "duration": 3000}},
    }


async def put(store: Store, *, is_anonymous: bool = False, **more: Any) -> None:
    """Queue one job."""
    number = next(_numbers)
    request = {"workflow": f"workflow{number % _WORKFLOWS}", **more}
    job = Job(
        id=f"job{number}",
        request=request,
        graph=stand.picture(),
        fingerprint="f",
        created_at=clock.now(),
        is_anonymous=is_anonymous,
    )
    await store.put(job, durable=False)


async def finish(store: Store, made: dict[str, Any]) -> float:
    """End one job; return the seconds until that is stored."""
    lease = await store.claim(Want())
    assert lease is not None
    outcome = Outcome(State.SUCCEEDED, stand.picture(), made, [])
    began = time.perf_counter()
    await store.finish(lease, outcome)
    return time.perf_counter() - began


async def fill(store: Store, count: int) -> None:
    """Make so many pictures, the last of them now."""
    told = prompts()
    began = clock.now() - count * _APART_S
    for first in range(0, count, _PAGE):
        numbers = range(first, min(first + _PAGE, count))
        for _ in numbers:
            await put(store)
        made = [result(next(told), number, began + number * _APART_S) for number in numbers]
        await asyncio.gather(*(finish(store, one) for one in made))


async def cost(store: Store) -> dict[str, tuple[float, float]]:
    """Return by p50 and mean what the end of a job takes without its row, and more with it, ms.

    Of anonymous jobs, which wait for no sync: how long that takes is the disk's affair.
    """
    told = prompts()
    found = []
    for _ in range(ROUNDS):
        times: list[list[float]] = [[], []]
        for number in range(CALLS * 5):
            for which, more in enumerate(({"metadata": False}, {})):
                await put(store, is_anonymous=True, **more)
                made = result(next(told), number, clock.now())
                times[which].append(await finish(store, made) * 1000)
        found.append(times)
    return {
        name: min((of(row) - of(plain), of(plain)) for plain, row in found)
        for name, of in (("p50", statistics.median), ("mean", statistics.fmean))
    }


def queries(count: int) -> dict[str, dict[str, Any]]:
    """Return what is looked for, among so many rows."""
    now = clock.now()
    middle = str(round((now - count / 2 * _APART_S) * 1000) * 65536)
    narrow = {"seed_min": 2**63, "seed_max": 2**63 + 2**48}
    return {
        "a rare word": {"prompt": "sunset"},
        "a word of 30% of the rows": {"prompt": "portrait"},
        "two words": {"prompt": "portrait golden"},
        "a phrase": {"prompt": '"golden hour"'},
        "a phrase that is nowhere": {"prompt": '"hour portrait"'},
        "the beginning of a word": {"prompt": "sun*"},
        "30%, and a LoRA": {"prompt": "portrait", "lora": "lora3"},
        "30%, and a workflow that is nowhere": {"prompt": "portrait", "workflow": "none"},
        "30%, and seeds that are nowhere": {"prompt": "portrait", **narrow},
        "30%, from half-way down": {"prompt": "portrait", "cursor": middle},
        "30%, the oldest": {"prompt": "portrait", "before": now - (count - 99) * _APART_S},
        "30%, and two negative words": {"prompt": "portrait", "negative_prompt": "blurry text"},
        "the newest": {},
        "seeds that are nowhere": narrow,
    }


async def ask(session: aiohttp.ClientSession, url: str) -> tuple[float, int]:
    """Return the seconds that a page takes, and its rows."""
    began = time.perf_counter()
    async with session.get(url) as response:
        body = await response.json()
        assert response.status == 200, body
    return time.perf_counter() - began, len(body["generations"])


async def search(state: Path, count: int) -> float:
    """Print p50 and p99 of each query, the best of the rounds; return the worst p99."""
    worst = 0.0
    async with stand.running(STATE_DIR=str(state)) as place, aiohttp.ClientSession() as session:
        for title, query in queries(count).items():
            url = f"{place.gateway}/generations?{urlencode(query)}"
            found = []
            for _ in range(ROUNDS):
                times = sorted([(await ask(session, url))[0] * 1000 for _ in range(CALLS)])
                found.append((times[int(CALLS * 0.99)], statistics.median(times)))
            p99, p50 = min(found)
            rows = (await ask(session, url))[1]
            worst = max(worst, p99)
            print(f"{title:36} {rows:3} rows, p50 {p50:5.2f} ms, p99 {p99:5.2f} ms", flush=True)
    return worst


async def main(count: int) -> None:
    """Fill a store, and measure."""
    with tempfile.TemporaryDirectory(prefix="comfy-gateway-bench-") as name:
        state = Path(name)
        store = await open_store(f"sqlite:{state / 'jobs.db'}")
        began = time.perf_counter()
        await fill(store, count)
        took = time.perf_counter() - began
        print(f"{count} jobs put, claimed and ended in {took:.0f} s", flush=True)
        for figure, (more, without) in (await cost(store)).items():
            told = f"{without:.3f} ms, and {more:+.3f} ms with its row (bar: <= +0.15)"
            print(f"the end of a job, {figure}: {told}", flush=True)
        await store.close()
        size = (state / "jobs.db").stat().st_size / 1e6
        print(f"the database: {size:.0f} MB")
        print(f"worst p99: {await search(state, count):.2f} ms (bar: <= 20)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY))
