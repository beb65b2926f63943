"""What made an output, as its sidecar and the list of generations tell it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.jobs import answer
from gateway.jobs.job import Job, State

#: Above the largest seed that ComfyUI's nodes take.
SEEDS = 2**64


@dataclass(frozen=True, kw_only=True)
class Sought:
    """Which generations are looked for: all that is given holds; times are seconds since 1970."""

    #: Words, phrases in quotes, beginnings with a star: all of them stand in the prompt.
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    seed_min: int | None = None
    seed_max: int | None = None
    workflow: str | None = None
    #: A file of weights, with or without its folder and its extension.
    lora: str | None = None
    model: str | None = None
    sampler: str | None = None
    preset: str | None = None
    job_id: str | None = None
    min_score: float | None = None
    after: float | None = None
    before: float | None = None


def sidecar(job: Job, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what an output of a job was made of; what is not known is None.

    `entry` is one of the job's outputs, and `url` is where it was uploaded to, if it says so.
    """
    result = job.result
    recipe: dict[str, Any] = result.get("recipes", {}).get(entry["node_id"]) or {}
    versions = result.get("versions", {})
    run = result.get("stats", {}).get("comfy_execution", {})
    here = f"/jobs/{job.id}/outputs/{entry['index']}"
    return {
        "timestamp": _ended_at(job, run),
        "job_id": job.id,
        "workflow": job.request.get("workflow"),
        "prompt": recipe.get("prompt"),
        "negative_prompt": recipe.get("negative_prompt"),
        "seed": recipe.get("seed"),
        "steps": recipe.get("steps"),
        "cfg": recipe.get("cfg"),
        "sampler": recipe.get("sampler"),
        "scheduler": recipe.get("scheduler"),
        "denoise": recipe.get("denoise"),
        "loras": list(recipe.get("loras") or ()),
        "preset": job.request.get("preset"),
        "validation_score": None,
        "url": entry.get("uploaded_to") or here,
        "filename": entry["filename"],
        "node_id": entry["node_id"],
        "index": entry["index"],
        # Of the file itself, where it has a size; a recipe tells what was asked for.
        "width": entry.get("width") or recipe.get("width"),
        "height": entry.get("height") or recipe.get("height"),
        "models": list(recipe.get("models") or ()),
        "duration": _seconds(run.get("duration")),
        "gateway_version": versions.get("gateway"),
        "comfyui_version": versions.get("comfyui"),
    }


def generations(job: Job) -> list[dict[str, Any]]:
    """Return what is to be remembered of a job that is over: a sidecar for each output."""
    if job.state is not State.SUCCEEDED or not is_told(job):
        return []
    return [sidecar(job, entry) for entry in job.result.get("outputs", ())]


def is_told(job: Job) -> bool:
    """Whether sidecars are wished for, and there is something to tell in them."""
    return job.request.get("metadata") is not False and bool(job.result.get("recipes"))


def _ended_at(job: Job, run: dict[str, Any]) -> str | None:
    # ComfyUI's end, not the job's: a sidecar is written and uploaded before the job is over.
    ended_at = run["end"] / 1000 if run.get("end") else job.finished_at
    return answer.timestamp(ended_at) if ended_at else None


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds / 1000, 3)
