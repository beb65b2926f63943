"""POST /prompt: a workflow in, pictures out; and what every request for a job is answered with."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from functools import partial

from aiohttp import web

from gateway import errors
from gateway.api import (
    acceptance,
    asked,
    converting,
    pictures,
    raw_format,
    rehearsal,
    wishes,
    workflow_bodies,
)
from gateway.api.asked import Asked, Drawn
from gateway.api.graph_json import LARGE_GRAPH, graph_response
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS, Parts
from gateway.jobs import answer
from gateway.jobs.job import Job, State
from gateway.schemas import PromptRequest, parse
from gateway.workflows import build

#: A job's end is told when it is on the disk; its record may be gone a moment before.
_LAST_WORD_S = 5.0


#: Makes the answer to a job that is not waited for.
Begun = Callable[[Job], web.Response]


async def post_prompt(request: web.Request) -> web.StreamResponse:
    """Run a workflow and answer with its outputs, or say why not."""
    sent = await workflow_bodies.receive(request)
    strict = request.app[PARTS].settings.strict_requests
    wire, warnings = parse(PromptRequest, sent.received.body, strict=strict)
    source = sent.source(wire.prompt)

    async def draw(parts: Parts) -> Drawn:
        found = await converting.graph_of(parts, source, wire.credentials)
        wanted = await wishes.wished(parts, wire)
        if wanted.is_empty:
            return Drawn(found.graph, found.warnings)
        edit = partial(build.edited, found.graph, wanted.preset, wanted.loras)
        built = await asyncio.to_thread(edit) if len(found.graph) > LARGE_GRAPH else edit()
        told = [*found.warnings, *built.warnings]
        return Drawn(built.workflow, told, wanted.places(built.workflow), changes=built.changes)

    looks_first = not converting.is_graph(source)
    understood = asked.asked(sent.received, wire, warnings, draw, looks_first=looks_first)
    return await respond(request, understood)


async def respond(
    request: web.Request, wanted: Asked, begun: Begun | None = None
) -> web.StreamResponse:
    """Accept a request for a job, and answer: 202 at once, or how the job ended.

    `begun` makes the answer to a job that is not waited for, whatever the request says. A
    rehearsal is answered with the graph that would have run.
    """
    parts = rehearsal.parts_of(request)
    is_preferred = _prefers_async(request)
    respond_async = begun is not None or is_preferred or wanted.request.is_async
    raw_format.check(request, wanted.request, respond_async=respond_async)
    if rehearsal.is_asked(request):
        return await graph_response(await acceptance.rehearse(parts, wanted))
    job_id = wanted.request.id or str(uuid.uuid4())
    async with parts.waiters.expect(job_id) as over:
        job = await acceptance.accept_or_join(parts, wanted, job_id, respond_async)
        if begun is not None:
            return await _sent(request, begun(job))
        if respond_async and not job.state.is_terminal:
            # Sent here and now: the webhook about the job waits for this answer.
            return await _sent(request, await _accepted(job, is_preferred))
        if job.id != job_id:
            # It has this Idempotency-Key, and a name of its own.
            async with parts.waiters.expect(job.id) as others:
                job = await _wait(parts, job, others, wanted, look_again=True)
        else:
            job = await _wait(parts, job, over, wanted)
        return await _answer(request, job)


def _prefers_async(request: web.Request) -> bool:
    given = ",".join(request.headers.getall("Prefer", ()))
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in given.split(","))


async def _wait(
    parts: Parts,
    job: Job,
    over: asyncio.Future[Job],
    wanted: Asked,
    *,
    look_again: bool = False,
) -> Job:
    """Return the job once it is over; `look_again` when it was found before `over` was there."""
    if job.state.is_terminal:
        return job
    try:
        if look_again and not over.done():
            # Its end may have come between the first look and our registration.
            found = await parts.store.get(job.id)
            if found is None:
                return await _last_word(job, over)
            if found.state.is_terminal:
                return found
        return await over
    except errors.Draining as draining:
        if wanted.is_anonymous:
            parts.background.spawn(parts.store.cancel(job.id, draining.to_dict()))
        raise
    except asyncio.CancelledError:
        if wanted.is_anonymous and parts.settings.cancel_on_disconnect:
            # Our own task is being cancelled: the cancel goes on in one of its own.
            gone = errors.ClientGone().to_dict()
            parts.background.spawn(parts.store.cancel(job.id, gone))
        raise


async def _last_word(job: Job, over: asyncio.Future[Job]) -> Job:
    """Return the end of a job whose record is gone; raises JobNotFound when it was told before."""
    try:
        async with asyncio.timeout(_LAST_WORD_S):
            return await over
    except TimeoutError:
        raise errors.JobNotFound(
            f"The job {job.id} was deleted before this request was answered."
        ) from None


async def _sent(request: web.Request, response: web.Response) -> web.Response:
    await response.prepare(request)
    await response.write_eof()
    return response


async def _accepted(job: Job, is_preferred: bool) -> web.Response:
    headers = {"Location": f"/jobs/{job.id}"}
    if is_preferred:
        headers["Preference-Applied"] = "respond-async"
    body = {**job.request, "id": job.id, "prompt": job.graph, "status": "ok"}
    if job.warnings:
        body["warnings"] = job.warnings
    return await graph_response(body, 202, headers)


async def _answer(request: web.Request, job: Job) -> web.StreamResponse:
    if job.state is not State.SUCCEEDED:
        return failed(job)
    return await pictures.respond(request, job)


def failed(job: Job) -> web.Response:
    """Return the error answer of a job that did not succeed."""
    error = job.error or errors.InternalError().to_dict()
    body = answer.failure(error) | {"id": job.id}
    if "metadata" in job.request:
        body["metadata"] = job.request["metadata"]
    if job.warnings:
        body["warnings"] = job.warnings
    return json_response(body, error.get("status", 500))
