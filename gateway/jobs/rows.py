"""Rows of the database, and what they stand for; pure."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import orjson

from gateway.jobs import words
from gateway.jobs.generation import SEEDS
from gateway.jobs.job import Holding, Job, State
from gateway.jobs.outbox import Delivery, DeliveryState
from gateway.jobs.shape import shape_of

_JSON = ("request", "graph", "models", "inputs", "result", "warnings", "error")
#: What generations are looked for by as a whole, beside the names of weights.
TAGGED = ("job_id", "workflow", "preset", "sampler", "seed")
FLAGS = ("is_anonymous", "needs_fetch", "needs_secrets", "cancel_asked")
_PLAIN = (
    *("id", "priority", "attempt", "created_at", "started_at", "finished_at", "deadline"),
    *("owner", "fingerprint", "idempotency_key", "prompt_id"),
)
_DELIVERY = tuple(
    field.name for field in fields(Delivery) if field.name not in ("state", "attempts")
)


def job(row: sqlite3.Row) -> Job:
    """Return the job of a row."""
    values: dict[str, Any] = {name: row[name] for name in _PLAIN}
    values |= {name: bool(row[name]) for name in FLAGS}
    values |= {name: orjson.loads(row[name]) if row[name] else None for name in _JSON}
    # Jobs of earlier releases do not say.
    values["inputs"] = values["inputs"] or []
    return Job(**values, state=State(row["state"]))


def new_job(job: Job) -> dict[str, Any]:
    """Return the values of the row of a job that is new."""
    return {
        **{name: getattr(job, name) for name in ("id", "priority", "created_at", "deadline")},
        **{name: getattr(job, name) for name in ("owner", "fingerprint", "idempotency_key")},
        **{name: int(getattr(job, name)) for name in FLAGS[:3]},
        **{name: dumps(getattr(job, name)) for name in ("request", "graph", "models", "warnings")},
        "inputs": dumps(job.inputs),
        "shape": shape_of(job.graph),
    }


def holding(row: sqlite3.Row) -> Holding:
    """Return the files that a queued job holds; of a job of an earlier release, all it names."""
    if row["inputs"] is not None:
        return Holding(row["id"], orjson.loads(row["inputs"]))
    nodes = orjson.loads(row["graph"]).values()
    values = [value for node in nodes for value in node.get("inputs", {}).values()]
    return Holding(row["id"], [value for value in values if isinstance(value, str)])


def delivery(row: sqlite3.Row) -> Delivery:
    """Return the delivery of a row."""
    values: dict[str, Any] = {name: row[name] for name in _DELIVERY}
    state, attempts = DeliveryState(row["state"]), orjson.loads(row["attempts"])
    return Delivery(**values, state=state, attempts=attempts)


def new_delivery(found: Delivery) -> dict[str, Any]:
    """Return the values of the row of a delivery that is new."""
    return {name: getattr(found, name) for name in _DELIVERY if name != "tries"}


def new_generation(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the row of what was made, but for its place among others."""
    return {
        "job_id": sidecar["job_id"],
        "prompt": _searched(sidecar["prompt"]),
        "negative_prompt": _searched(sidecar["negative_prompt"]),
        "tags": " ".join(_tags(sidecar)),
        "sidecar": dumps(sidecar),
    }


def numbers(sidecar: dict[str, Any]) -> dict[str, Any] | None:
    """Return what is looked for by range; None when it has no number."""
    found = seed_column(sidecar["seed"]), sidecar["validation_score"]
    return None if found == (None, None) else {"seed": found[0], "score": found[1]}


def seed_column(seed: Any) -> int | None:
    """Return a seed as it is stored: seeds go up to 2^64, and integers of the file to 2^63."""
    is_seed = type(seed) is int and 0 <= seed < SEEDS
    return seed - SEEDS // 2 if is_seed else None


def _searched(text: Any) -> str:
    return words.spaced(text) if isinstance(text, str) else ""


def _tags(sidecar: dict[str, Any]) -> Iterator[str]:
    for kind in TAGGED:
        if sidecar[kind] is not None:
            yield words.tag(kind, str(sidecar[kind]))
    for kind, files in (("lora", sidecar["loras"]), ("model", sidecar["models"])):
        for file in files:
            for name in words.names_of(str(file["name"])):
                yield words.tag(kind, name)


def dumps(value: Any) -> str:
    """Return JSON for a column."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # Half a character, in a file's name that an error quotes: a job whose end cannot be stored
        # would be run again and again.
        return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
