"""Answers that hold a graph: a large one is written in a thread, and others get their turn."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from gateway import graph

#: Graphs of more nodes are edited and written in a thread: the loop serves others meanwhile.
LARGE_GRAPH = 200


async def graph_response(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a JSON answer with a graph at `prompt`."""
    is_large = len(body["prompt"]) > LARGE_GRAPH
    raw = await asyncio.to_thread(encoded, body) if is_large else orjson.dumps(body)
    return web.Response(
        body=raw,
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def encoded(body: Any) -> bytes:
    """Return the JSON of a body; where it has a graph at `prompt`, this lets others run between."""
    if not isinstance(body, dict) or not isinstance(body.get("prompt"), dict):
        return orjson.dumps(body)
    # A single call would hold the interpreter to its end, in whichever thread.
    nodes = [orjson.dumps(key) + b":" + orjson.dumps(node) for key, node in body["prompt"].items()]
    return orjson.dumps({**body, "prompt": orjson.Fragment(b"{" + b",".join(nodes) + b"}")})


def is_within(workflow: graph.Graph, most_bytes: int) -> bool:
    """Whether a graph is so many bytes of JSON at most; looks no further than that."""
    left = most_bytes
    for node in workflow.values():
        left -= len(orjson.dumps(node))
        if left < 0:
            return False
    return True
