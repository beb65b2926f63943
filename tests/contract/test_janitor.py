"""The janitor's round, on a real store and real folders."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Settings
from gateway.janitor import Janitor, Lifetimes
from gateway.jobs.job import Job
from gateway.jobs.store import Store
from gateway.jobs.waiters import Waiters
from gateway.media.inputs import Inputs
from gateway.storage.fetcher import Fetcher
from gateway.storage.providers import Providers
from tests.contract.stores import Hands, claim, got, outcome, put

FILES = {"outputs": [{"index": 0}]}


async def test_outputs_that_cannot_be_deleted_keep_no_others(
    store: Store, hands: Hands, tmp_path: Path
) -> None:
    for job_id in ("a", "b"):
        await put(store, job_id)
        await store.finish(await claim(store), outcome(result=FILES))
    discarded: list[str] = []

    async def discard(job: Job) -> None:
        if job.id == "a":
            raise PermissionError(13, "Permission denied", "a.png")
        discarded.append(job.id)

    settings = Settings(comfy_home=tmp_path, state_dir=tmp_path / "state")
    async with Providers.open(settings) as providers, Fetcher(providers).run() as fetcher:
        inputs = await Inputs.open(settings, fetcher)
        lifetimes = Lifetimes(outputs=0, records=0, dead_letters=0, generations=0)
        janitor = Janitor(store, Waiters(store), inputs, discard, lifetimes)
        hands.forward(1)
        await janitor.round(hands())
        await janitor.round(hands())

    assert discarded == ["b"]
    assert await store.get("b") is None
    assert (await got(store, "a")).result == FILES
