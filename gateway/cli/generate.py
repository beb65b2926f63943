"""`gateway generate`: one job, from what the flags ask for to the files it makes."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway import graph
from gateway.cli import jobs, results
from gateway.cli.client import Client
from gateway.cli.failure import CommandFailed
from gateway.cli.order import Order
from gateway.cli.watch import Screen, Watch, Wishes, failure
from gateway.workflows.sampling import samplers

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_CANCEL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Made:
    """A job that succeeded, and what was saved of it."""

    order: Order
    #: The answer that accepted it.
    accepted: dict[str, Any]
    job: dict[str, Any]
    saved: results.Saved

    @property
    def seed(self) -> Any:
        """The seed that was used, or None where the workflow has none."""
        for sidecar in self.saved.told:
            if sidecar.get("seed") is not None:
                return sidecar["seed"]
        return seed_of(self.accepted.get("prompt") or {})

    def told(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "job_id": self.job["id"],
            "workflow": self.order.workflow,
            "files": [str(file) for file in self.saved.files],
            "sidecars": [str(file) for file in self.saved.sidecars],
            "input": self.accepted.get("input", self.order.input),
            "seed": self.seed,
            "texts": [text["text"] for text in self.job["texts"]],
            "warnings": [*self.order.notes, *self.job["warnings"], *self.saved.notes],
        }


def seed_of(workflow: graph.Graph) -> Any:
    """Return the seed of the first sampler that has one."""
    for sampler in samplers.samplers(workflow):
        if (seed := samplers.values(workflow, sampler).get("seed")) is not None:
            return seed
    return None


async def dry_run(client: Client, order: Order) -> dict[str, Any]:
    """Return what the gateway would run: {prompt, input?, changes, warnings}."""
    found = await _post(client, order, params={"dry_run": "true"})
    return {
        **({"input": found["input"]} if "input" in found else {}),
        "prompt": found["prompt"],
        "changes": [*order.changes, *found.get("changes", ())],
        "warnings": [*order.notes, *found.get("warnings", ())],
    }


async def make(
    client: Client, order: Order, screen: Screen, preview: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a job to its end; return the answer that accepted it, and its record.

    When this is cancelled, so is the job. Raises CommandFailed when it does not succeed.
    """
    job_id = str(uuid.uuid4())
    try:
        accepted = await _post(client, order, id=job_id)
        watch = Watch(client, screen, Wishes(outputs=False, preview=preview))
        job = await watch.run(job_id, is_known=True)
    except asyncio.CancelledError:
        with contextlib.suppress(CommandFailed, TimeoutError):
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                await jobs.cancelled(client, job_id)
        raise
    if (failed := failure(job)) is not None:
        raise failed
    return accepted, job


async def _post(
    client: Client, order: Order, params: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    data = orjson.dumps({**order.body, **fields})
    headers = {**_JSON, "Prefer": "respond-async"} if fields else _JSON
    async with client.request(
        "POST", order.path, params=params or {}, data=data, headers=headers
    ) as answer:
        found: dict[str, Any] = orjson.loads(await answer.read())
        return found
