"""LoRAs and presets: what a request may name."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gateway import graph
from gateway.api.middleware import json_response
from gateway.api.models import places
from gateway.api.parts import PARTS, Parts
from gateway.storage.address import shown
from gateway.workflows.loras.injection import Lora

_FOLDER = "loras"


async def list_loras(request: web.Request) -> web.Response:
    """Return the LoRAs that ComfyUI sees now, and where those of the cache came from."""
    parts = request.app[PARTS]
    listing = await parts.folders.listing()
    sources = await _sources(parts)
    told = [
        {"name": name, "url": sources[name]} if name in sources else {"name": name}
        for name in sorted(listing.get(_FOLDER, ()))
    ]
    return json_response({"loras": told})


async def _sources(parts: Parts) -> dict[str, str]:
    """Return name in the folder -> the URL that it was fetched from."""
    files = await parts.models.cache.entries()
    return await asyncio.to_thread(
        lambda: {
            place.removeprefix(f"{_FOLDER}/"): file.url
            for file in files
            if file.url is not None
            for place in places(parts, file)
            if place.startswith(f"{_FOLDER}/")
        }
    )


async def list_presets(request: web.Request) -> web.Response:
    """Return the presets by name, and the lists of LoRAs."""
    workflows = request.app[PARTS].workflows
    return json_response(
        {
            "presets": {name: preset.settings for name, preset in workflows.presets.items()},
            "lora_presets": {
                name: [_told(lora) for lora in listed]
                for name, listed in workflows.lora_presets.items()
            },
        }
    )


def _told(lora: Lora) -> dict[str, Any]:
    is_url = graph.is_url(lora.file)
    told = {
        "url" if is_url else "name": shown(lora.file) if is_url else lora.file,
        "strength": lora.strength,
        "strength_clip": lora.strength_clip,
        "target": lora.target,
    }
    return {key: value for key, value in told.items() if value is not None}
