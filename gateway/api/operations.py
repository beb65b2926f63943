"""Probes, metrics and logs."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from aiohttp import web

from gateway import clock, errors, log, metrics
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS
from gateway.jobs.job import State

VERSION = metadata.version("comfy-gateway")


async def health(request: web.Request) -> web.Response:
    """200 once the warm-up has completed for the first time."""
    standing = request.app[PARTS].health.standing()
    if standing.was_ready:
        return json_response({"version": VERSION, "status": "healthy"})
    body = {"version": VERSION, "status": "not healthy", "reason": standing.reason}
    return json_response(body | {"detail": standing.detail}, 500)


async def ready(request: web.Request) -> web.Response:
    """200 while prompts are taken and ComfyUI runs them."""
    parts = request.app[PARTS]
    standing = parts.health.standing()
    reason, detail, retry_after = standing.reason, standing.detail, standing.retry_after
    if reason is None:
        try:
            await parts.store.check_room(None)
        except errors.QueueFull as full:
            reason, detail, retry_after = "queue_full", full.message, full.retry_after or 1.0
    if reason is None:
        return json_response({"version": VERSION, "status": "ready"})
    body: dict[str, Any] = {"version": VERSION, "status": "not ready"}
    body |= {"reason": reason, "detail": detail}
    if standing.log and parts.keyring.is_open:
        # With keys set, what ComfyUI printed is only for who has one: GET /logs.
        body["log"] = standing.log
    return json_response(body, 503, {"Retry-After": str(max(1, round(retry_after)))})


async def live(_: web.Request) -> web.Response:
    """200 as soon as the process listens."""
    return json_response({"version": VERSION, "status": "alive"})


async def exposition(request: web.Request) -> web.Response:
    """Return the metrics in Prometheus' text format."""
    parts = request.app[PARTS]
    depth = await parts.store.depth()
    metrics.queue_depth.set(depth[State.QUEUED])
    for state, jobs in depth.items():
        metrics.jobs_by_state.labels(state.value).set(jobs)
    metrics.oldest_queued_seconds.set(_age(await parts.store.oldest()))
    pending, oldest = await parts.store.outbox.depth()
    metrics.deliveries_pending.set(pending)
    metrics.outbox_age_seconds.set(_age(oldest))
    metrics.ready.set(parts.health.standing().reason is None)
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=metrics.render(), headers=headers)


def _age(since: float | None) -> float:
    return 0.0 if since is None else max(0.0, clock.now() - since)


async def logs(request: web.Request) -> web.Response:
    """Return the last lines of the log, ComfyUI's among them."""
    given = request.query.get("tail", "100")
    if not (given.isascii() and given.isdigit() and len(given) < 7):
        raise errors.InvalidRequest(f"tail is 0 to {log.RING_LINES}.", location="tail")
    source = request.query.get("source")
    if source not in (None, "comfyui", "gateway"):
        raise errors.InvalidRequest("source is comfyui or gateway.", location="source")
    return json_response({"lines": log.ring.tail(int(given), source)})
