"""Models ahead of need, and what the cache holds of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from gateway import errors
from gateway.api.middleware import json_response
from gateway.api.model_schemas import DownloadRequest
from gateway.api.parts import PARTS, Parts
from gateway.comfy import model_paths
from gateway.log import logger
from gateway.models.cache import EntryShown
from gateway.models.library import Brought
from gateway.models.link_names import checked_filename, checked_folder
from gateway.models.links import place
from gateway.models.wanted import Want
from gateway.schemas import invalid_request
from gateway.storage import credentials
from gateway.storage.address import shown


async def list_models(request: web.Request) -> web.Response:
    """Return the files of every folder of models, as ComfyUI sees them now."""
    return json_response(await request.app[PARTS].folders.listing())


async def post_download(request: web.Request) -> web.Response:
    """Fetch a model ahead of need, and link it where ComfyUI looks."""
    parts = request.app[PARTS]
    asked = await _read(request)
    want = await _want(parts, asked)
    body = {"url": shown(want.url), "model_type": asked.model_type}
    began = time.monotonic()
    arrival: asyncio.Future[Brought] = asyncio.get_running_loop().create_future()
    # It goes on when the client hangs up: the next one finds it here, or joins it.
    parts.background.spawn(_bring(parts, want, arrival), is_resumable=True)
    if not asked.wait:
        return json_response({**body, "filename": want.name, "status": "started"}, 202)
    brought = await arrival
    told = {"filename": brought.name, "status": "completed", "size": brought.size}
    return json_response({**body, **told, "duration": round(time.monotonic() - began, 3)})


async def _read(request: web.Request) -> DownloadRequest:
    try:
        return DownloadRequest.model_validate(orjson.loads(await request.read()))
    except orjson.JSONDecodeError:
        raise errors.InvalidJson(hint='Send {"url": ..., "model_type": "loras"}.') from None
    except ValidationError as failure:
        raise invalid_request(failure) from None


async def _want(parts: Parts, asked: DownloadRequest) -> Want:
    folder = checked_folder(asked.model_type, await parts.folders.names())
    if asked.filename is not None:
        checked_filename(asked.filename)
    url, found = credentials.taken_out(asked.url)
    want = Want(
        url=url,
        folder=folder,
        name=asked.filename,
        auth=asked.auth or (found.auth if found else None),
        sha256=asked.sha256 and asked.sha256.lower(),
        location="url",
    )
    parts.models.check(want)
    return want


async def _bring(parts: Parts, want: Want, arrival: asyncio.Future[Brought]) -> None:
    holder = f"download-{uuid.uuid4().hex}"
    try:
        [brought] = await parts.models.bring([want], holder)
    except errors.GatewayError as failure:
        if isinstance(failure, errors.LinkOccupied) and want.name is not None:
            failure.location = "filename"
        logger.warning("a download failed", url=shown(want.url), error=failure.message)
        _tell(arrival, failure)
    except asyncio.CancelledError:
        _tell(arrival, errors.Draining(hint="Ask again later: what can be resumed is kept."))
        raise
    else:
        if not arrival.done():
            arrival.set_result(brought)
    finally:
        parts.models.release(holder)
        # Whatever else may happen, nobody waits for ever.
        _tell(arrival, errors.InternalError())


def _tell(arrival: asyncio.Future[Brought], failure: errors.GatewayError) -> None:
    if not arrival.done():
        arrival.set_exception(failure)
        # Nobody may be waiting for it.
        arrival.exception()


async def list_downloads(request: web.Request) -> web.Response:
    """Return the downloads that run, and those that ended lately."""
    found = request.app[PARTS].models.cache.downloads()
    return json_response({"downloads": [_shown(one) for one in found]})


async def list_cache(request: web.Request) -> web.Response:
    """Return the files of the cache, and how much room they take."""
    parts = request.app[PARTS]
    files = await parts.models.cache.entries()
    limit = int(parts.settings.lru_cache_size_gb * (1 << 30)) or None
    size = sum(file.size for file in files)
    told = await asyncio.to_thread(
        lambda: [{**_shown(file), "links": places(parts, file)} for file in files]
    )
    return json_response({"files": told, "size": size, "limit": limit})


async def delete_cached(request: web.Request) -> web.Response:
    """Delete a file of the cache that no job needs."""
    await request.app[PARTS].models.cache.delete(request.match_info["name"])
    return web.Response(status=204)


def places(parts: Parts, file: EntryShown) -> list[str]:
    """Return folder/name of each link: those of this run, and those that earlier runs noted."""
    found = set(parts.models.links.places(parts.settings.cache / file.name))
    roots = (model_paths.links(parts.settings), parts.settings.models)
    return sorted(found | {place(Path(path), roots) for path in file.links})


def _shown(entry: Any) -> dict[str, Any]:
    return dict(vars(entry))
