"""Jobs: their state, their outputs, their end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from gateway import errors
from gateway.api import paging, pictures
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS, Parts
from gateway.jobs import answer, generation
from gateway.jobs.job import Job, State
from gateway.schemas import InterruptRequest, invalid_request


async def list_jobs(request: web.Request) -> web.Response:
    """Return jobs, newest first, a page at a time."""
    parts = request.app[PARTS]
    query = request.query
    jobs, following = await parts.store.list(
        state=paging.state(query, State), limit=paging.limit(query), cursor=paging.cursor(query)
    )
    body: dict[str, Any] = {"jobs": await _records(parts, jobs)}
    if following is not None:
        body["next_cursor"] = following
    return json_response(body)


async def get_job(request: web.Request) -> web.Response:
    """Return one job."""
    parts = request.app[PARTS]
    return json_response((await _records(parts, [await _job(request)]))[0])


async def get_output(request: web.Request) -> web.StreamResponse:
    """Return one file of a job, with ranges."""
    job = await _job(request)
    if not job.result:
        # ComfyUI has not finished, and some of its files are there.
        job = replace(job, result={"outputs": request.app[PARTS].events.outputs(job.id)})
    return pictures.output(job, request.match_info["name"])


async def get_output_metadata(request: web.Request) -> web.Response:
    """Return what made an output: its sidecar."""
    job = await _job(request)
    entry = pictures.entry_of(job, request.match_info["name"])
    if not generation.is_told(job):
        is_off = job.request.get("metadata") is False
        raise errors.OutputNotFound(
            f"Job {job.id} has no sidecars: "
            + ("it was sent with metadata: false." if is_off else "an earlier release ran it."),
            id=job.id,
        )
    return json_response(generation.sidecar(job, entry))


async def cancel_job(request: web.Request) -> web.Response:
    """End a job, queued or running."""
    parts = request.app[PARTS]
    job = await _job(request)
    if job.state.is_terminal:
        return json_response({"id": job.id, "state": job.state})
    await parts.store.cancel(job.id, errors.JobCancelled().to_dict())
    job = await parts.store.get(job.id) or job
    return json_response({"id": job.id, "state": job.state}, 202)


async def delete_job(request: web.Request) -> web.Response:
    """Forget a job that is over, its files, and what is remembered of them."""
    parts = request.app[PARTS]
    job_id = request.match_info["id"]
    if await parts.store.get(job_id) is None and await parts.store.generations.forget(job_id):
        # Its record has expired, and its rows are kept for longer.
        return web.Response(status=204)
    job = await _job(request)
    if not job.state.is_terminal:
        raise errors.JobRunning(f"Job {job.id} is {job.state}; cancel it first.", id=job.id)
    await parts.discard(job)
    await parts.store.delete(job.id)
    return web.Response(status=204)


async def interrupt(request: web.Request) -> web.Response:
    """End a job by its id, running or queued alike."""
    parts = request.app[PARTS]
    try:
        wanted = InterruptRequest.model_validate(orjson.loads(await request.read()))
    except orjson.JSONDecodeError:
        raise errors.InvalidJson(hint='Send {"id": <the job\'s id>}.') from None
    except ValidationError as failure:
        raise invalid_request(failure) from None
    done = await parts.store.cancel(wanted.id, errors.JobCancelled().to_dict())
    if done == "gone":
        return json_response({"id": wanted.id, "interrupted": "failed"}, 404)
    return json_response({"id": wanted.id, "interrupted": "success"})


async def _job(request: web.Request) -> Job:
    job_id = request.match_info["id"]
    job = await request.app[PARTS].store.get(job_id)
    if job is None:
        raise errors.JobNotFound(f"There is no job {job_id[:128]!r}.")
    return job


async def _records(parts: Parts, jobs: list[Job]) -> list[dict[str, Any]]:
    places = await parts.store.places(jobs)
    return [answer.record(job, _progress(parts, job.id), places.get(job.id)) for job in jobs]


def _progress(parts: Parts, job_id: str) -> dict[str, Any]:
    progress = parts.store.progress_of(job_id)
    return {**progress, "phase": "preparing"} if parts.is_preparing(job_id) else progress
