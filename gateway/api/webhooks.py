"""The outbox: what is owed, what arrived, dead letters."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway import errors
from gateway.api import paging
from gateway.api.middleware import json_response
from gateway.api.parts import PARTS
from gateway.jobs import answer
from gateway.jobs.outbox import Delivery, DeliveryState


async def list_deliveries(request: web.Request) -> web.Response:
    """Return calls of webhooks, newest first, a page at a time."""
    query = request.query
    found, following = await request.app[PARTS].store.outbox.deliveries(
        state=paging.state(query, DeliveryState),
        job_id=query.get("job_id"),
        limit=paging.limit(query),
        cursor=paging.cursor(query),
    )
    body: dict[str, Any] = {"deliveries": [_shown(delivery) for delivery in found]}
    if following is not None:
        body["next_cursor"] = following
    return json_response(body)


async def replay(request: web.Request) -> web.Response:
    """Send a webhook again, at once."""
    delivery_id = request.match_info["id"]
    delivery = await request.app[PARTS].store.outbox.replay(delivery_id)
    if delivery is None:
        raise errors.DeliveryNotFound(f"There is no delivery {delivery_id[:128]!r}.")
    return json_response(_shown(delivery), 202)


def _shown(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as callers see it: its URL without the query, which may be a secret."""
    shown = {
        "id": delivery.id,
        "job_id": delivery.job_id,
        "kind": delivery.kind,
        "url": delivery.url.partition("?")[0].partition("#")[0],
        "state": delivery.state,
        "attempts": [{**call, "at": answer.timestamp(call["at"])} for call in delivery.attempts],
    }
    if delivery.next_at is not None:
        shown["next_at"] = answer.timestamp(delivery.next_at)
    return shown
