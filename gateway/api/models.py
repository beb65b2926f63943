"""Models ahead of need, and what the cache holds of them."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from gateway import errors
from gateway.api.middleware import json_response
from gateway.api.model_schemas import DownloadRequest
from gateway.api.parts import PARTS, Parts
from gateway.log import logger
from gateway.models.cache import Cached
from gateway.models.library import Want
from gateway.schemas import invalid_request
from gateway.storage import credentials
from gateway.storage.address import shown

#: What ComfyUI calls these folders since 2024; clients still send the old names.
_OLD_NAMES = {"clip": "text_encoders", "unet": "diffusion_models"}
_NAME_BYTES = 255
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")

Brought = tuple[str, Cached]


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
    name, cached = await arrival
    told = {"filename": name, "status": "completed", "size": cached.size}
    return json_response({**body, **told, "duration": round(time.monotonic() - began, 3)})


async def _read(request: web.Request) -> DownloadRequest:
    try:
        return DownloadRequest.model_validate(orjson.loads(await request.read()))
    except orjson.JSONDecodeError:
        raise errors.InvalidJson(hint='Send {"url": ..., "model_type": "loras"}.') from None
    except ValidationError as failure:
        raise invalid_request(failure) from None


async def _want(parts: Parts, asked: DownloadRequest) -> Want:
    folder = await _folder(parts, asked.model_type)
    if asked.filename is not None:
        check_filename(asked.filename)
    parts.models.check(asked.url, "url")
    url, found = credentials.taken_out(asked.url)
    return Want(
        url=url,
        folder=folder,
        name=asked.filename,
        auth=asked.auth or (found.auth if found else None),
        sha256=asked.sha256 and asked.sha256.lower(),
        location="url",
    )


async def _folder(parts: Parts, model_type: str) -> str:
    known = await parts.folders.names()
    folder = _OLD_NAMES.get(model_type, model_type)
    if folder not in known:
        raise errors.UnknownModelType(
            f"{model_type[:100]!r} is not a folder of models that ComfyUI knows.",
            hint=f"The known ones: {', '.join(sorted(known))}.",
            location="model_type",
        )
    return folder


def check_filename(name: str) -> None:
    """Raise InvalidInput for a name that no file of a models folder can have."""
    size = len(name.encode(errors="surrogatepass"))
    problem = None
    if name in ("", ".", "..") or name.startswith("."):
        problem = "is empty or begins with a dot"
    elif _NO_NAME.search(name):
        problem = "has a slash, a backslash or a control character"
    elif size > _NAME_BYTES:
        problem = f"has {size} bytes; at most {_NAME_BYTES} are allowed"
    if problem:
        raise errors.InvalidInput(
            f"filename {name[:60]!r} {problem}.",
            hint="Give a plain name, as model.safetensors; model_type names the folder.",
            location="filename",
        )


async def _bring(parts: Parts, want: Want, arrival: asyncio.Future[Brought]) -> None:
    holder = f"download-{uuid.uuid4().hex}"
    try:
        brought = await parts.models.fetch(want, holder)
    except errors.GatewayError as failure:
        logger.warning("a download failed", url=shown(want.url), error=failure.message)
        _tell(arrival, failure)
    except asyncio.CancelledError:
        _tell(arrival, errors.Draining(hint="Ask again later: it goes on where it stopped."))
        raise
    else:
        if not arrival.done():
            arrival.set_result(brought)
    finally:
        parts.models.release(holder)


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
    files = parts.models.cache.entries()
    limit = int(parts.settings.lru_cache_size_gb * (1 << 30)) or None
    size = sum(file.size for file in files)
    return json_response({"files": [_shown(one) for one in files], "size": size, "limit": limit})


async def delete_cached(request: web.Request) -> web.Response:
    """Delete a file of the cache that no job needs."""
    await request.app[PARTS].models.cache.delete(request.match_info["name"])
    return web.Response(status=204)


def _shown(entry: Any) -> dict[str, Any]:
    return dict(vars(entry))
