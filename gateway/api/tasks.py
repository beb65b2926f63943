"""POST /generate and GET /tasks/{id}: a named workflow asked for now, and asked about later."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway import errors
from gateway.api import asked, named, prompt
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS
from gateway.jobs import answer
from gateway.jobs.job import Job, State
from gateway.schemas import GenerateRequest, parse

_EXAMPLE = '{"workflow_id": "<name>", "params": {"<parameter>": ...}}'
_STATUS = {
    State.QUEUED: "PENDING",
    State.RUNNING: "STARTED",
    State.DELIVERING: "STARTED",
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELLED: "REVOKED",
}


async def post_generate(request: web.Request) -> web.StreamResponse:
    """Begin a named workflow, and answer with the id of its task at once."""
    parts = request.app[PARTS]
    received = await asked.receive(request, "\0generate", _EXAMPLE)
    named_in, _ = parse(GenerateRequest, received.body, strict=False)
    try:
        workflow = parts.workflows.get(named_in.workflow_id)
    except (errors.WorkflowNotFound, errors.WorkflowBroken, errors.NotReady) as failure:
        wanted = asked.asked(received, named_in, [], named.draw_nothing)
        return await named.retried(request, wanted, failure, _begun)
    # First, since it says more than that a field is unknown.
    named.check_misplaced(workflow, received.body, "params")
    strict = parts.settings.strict_requests
    wire, warnings = parse(GenerateRequest, received.body, strict=strict)
    drawing = named.Drawing(workflow, wire, wire.params, place="params")
    wanted = asked.asked(received, wire, warnings, drawing.draw)
    return await prompt.respond(request, wanted, begun=_begun)


def _begun(job: Job) -> web.Response:
    body: dict[str, Any] = {"task_id": job.id}
    if job.warnings:
        body["warnings"] = job.warnings
    return json_response(body, 202, {"Location": f"/tasks/{job.id}"})


async def get_task(request: web.Request) -> web.Response:
    """Return how far a task is, and what came of it."""
    parts, task_id = request.app[PARTS], request.match_info["id"]
    job = await parts.store.get(task_id)
    if job is None:
        raise errors.JobNotFound(f"There is no task {task_id[:128]!r}.")
    record = answer.record(job, parts.store.progress_of(job.id), None)
    body = {"task_id": job.id, "status": _STATUS[job.state], "progress": record["progress"]}
    if job.state is State.SUCCEEDED:
        body["result"] = _result(job, record["outputs"])
    elif job.state.is_terminal:
        body["error"] = record.get("error") or errors.InternalError().to_dict()
    return json_response(body)


def _result(job: Job, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"download_url": _download_url(job, outputs), "outputs": outputs, "seed": _seed(job)}


def _download_url(job: Job, outputs: list[dict[str, Any]]) -> str | None:
    """Return where to get the first output: a link that needs no key, where there is one."""
    if not outputs:
        return None
    presigned = job.result.get("presigned_urls") or [None]
    found = presigned[0] or outputs[0].get("uploaded_to") or outputs[0]["url"]
    return str(found)


def _seed(job: Job) -> int | None:
    given = job.request.get("input", {}).get("seed")
    told = [recipe.get("seed") for recipe in job.result.get("recipes", {}).values()]
    seeds = [seed for seed in (given, *told) if isinstance(seed, int)]
    return seeds[0] if seeds else None
