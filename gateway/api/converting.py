"""Whatever a request gives in place of a graph becomes one: read, fetched, converted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import aiohttp

from gateway import errors, given, graph, written
from gateway.api import asked, engine_hint, graph_json
from gateway.api.parts import Parts
from gateway.log import logger
from gateway.schemas import Credential
from gateway.storage import address, credentials
from gateway.workflows import convert
from gateway.workflows.convert import CONVERTED, Converted
from gateway.workflows.turns import in_turn

#: What stands in place of a graph: a workflow in either format, a text, or the bytes of a file.
Source = dict[str, Any] | str | bytes

#: Seconds in which a URL must have given its file: the request waits for it.
FETCH_S = 120.0
_LOCATION = "prompt"
#: Classes that ComfyUI is asked about again; a file of more unknown ones is another's.
_MOST_ASKED = 16
_SHOWN = 200


async def graph_of(parts: Parts, source: Source, allowed: Sequence[Credential]) -> Converted:
    """Return the graph; where it was converted, the first of the warnings says so.

    Raises InvalidRequest, InvalidJson, InvalidInput, InputTooLarge, InputNotFetched,
    NotConvertible, NotReady before ComfyUI's first answer, and Draining.
    """
    try:
        if isinstance(source, dict):
            found = written.unwrapped(source).workflow
        else:
            found = await _read(parts, source, allowed)
        if not graph.is_ui_format(found):
            return Converted(graph.check_shape(found), [])
        made = await _converted(parts, found)
        return Converted(made.graph, [CONVERTED, *made.warnings])
    except errors.RequestRefused as failure:
        failure.location = failure.location or _LOCATION
        raise


def is_graph(source: Source) -> bool:
    """Whether nothing is to be done before this is a graph."""
    return isinstance(source, dict) and not graph.is_ui_format(source)


async def _read(parts: Parts, source: str | bytes, allowed: Sequence[Credential]) -> dict[str, Any]:
    if isinstance(source, bytes):
        read = partial(given.workflow_of, source)
    elif graph.is_url(source):
        return await _fetched(parts, source, allowed)
    elif not source.strip():
        raise errors.InvalidRequest("prompt is empty: there is no workflow.")
    else:
        read = partial(given.workflow_of_text, source, "The value of prompt")
    return await in_turn(partial(_checked, read, parts.settings.max_json_depth))


def _checked(read: Callable[[], dict[str, Any]], most: int) -> dict[str, Any]:
    found = read()
    asked.check_depth(found, most, "The workflow")
    return found


async def _fetched(parts: Parts, url: str, allowed: Sequence[Credential]) -> dict[str, Any]:
    bare, own = credentials.taken_out(url)
    auth = credentials.matching([*allowed, *([own] if own else [])], bare)
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(FETCH_S):
                lent = parts.inputs.lent(bare, auth, location=_LOCATION)
                path = await stack.enter_async_context(lent)
        except TimeoutError:
            # Its host sends a little now and then, which is no silence.
            raise errors.InputNotFetched(
                f"{address.shown(bare)} could not be fetched within {FETCH_S:g} s.",
                hint="Send the file itself: as the body, or as the part `prompt` of a form.",
            ) from None
        most_bytes = int(parts.settings.max_body_size_mb * (1 << 20))
        read = partial(given.workflow_in, path, most_bytes, address.shown(bare))
        return await in_turn(partial(_checked, read, parts.settings.max_json_depth))


async def _converted(parts: Parts, workflow: dict[str, Any]) -> Converted:
    """Convert; what ComfyUI was not known to have, it is asked about once more."""
    if not parts.catalog.is_known:
        standing = parts.health.standing()
        raise errors.NotReady(
            standing.detail, retry_after=standing.retry_after, reason=standing.reason
        )
    try:
        return await _attempt(parts, workflow)
    except errors.NotConvertible as failure:
        unknown = _unknown_classes(parts, failure)
        if not unknown:
            raise
        if not await _are_there_now(parts, unknown):
            engine_hint.add(parts, failure)
            raise
    return await _attempt(parts, workflow)


async def _attempt(parts: Parts, workflow: dict[str, Any]) -> Converted:
    most_mb = parts.settings.max_body_size_mb
    work = partial(_made, workflow, parts.catalog.definitions, most_mb)
    return await in_turn(partial(_unless_draining, parts, work))


def _unless_draining(parts: Parts, work: Callable[[], Converted]) -> Converted:
    """Do it, unless its turn comes when the gateway is about to end."""
    standing = parts.health.standing()
    if standing.reason == "draining":
        raise errors.Draining(
            standing.detail, retry_after=standing.retry_after, reason=standing.reason
        )
    return work()


def _made(workflow: dict[str, Any], definitions: Mapping[str, Any], most_mb: float) -> Converted:
    made = convert.convert(workflow, definitions)
    if not made.graph:
        raise _empty(workflow)
    if not graph_json.is_within(made.graph, int(most_mb * (1 << 20))):
        raise errors.NotConvertible(
            f"In API format, the workflow has more than {most_mb:g} MB (MAX_BODY_SIZE_MB).",
            hint="What stands in a subgraph counts as often as that is used.",
        )
    return Converted(graph.check_shape(made.graph), made.warnings)


def _empty(workflow: dict[str, Any]) -> errors.InvalidRequest:
    count = len(workflow["nodes"])
    if not count:
        return errors.InvalidRequest("The workflow of the canvas has no nodes.")
    which = f"all {count} are" if count > 1 else "the only one is"
    return errors.InvalidRequest(
        f"No node of the workflow runs: {which} muted, bypassed, or a note.",
        hint="Set those that are meant to run to Always in the canvas, and save it anew.",
    )


def _unknown_classes(parts: Parts, failure: errors.NotConvertible) -> set[str]:
    named = (node.get("class_type") for node in failure.details.get("nodes", ()))
    known = parts.catalog.definitions
    return {name for name in named if isinstance(name, str) and name and name not in known}


async def _are_there_now(parts: Parts, unknown: set[str]) -> bool:
    if len(unknown) > _MOST_ASKED:
        return False
    try:
        await parts.refresh_classes(unknown)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
        # ComfyUI may be restarting: what it said last still holds.
        logger.debug("object_info was not refreshed", error=str(failure)[:_SHOWN])
        return False
    return not unknown.isdisjoint(parts.catalog.definitions)
