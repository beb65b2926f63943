"""A host of weights, and what tests of models ask the gateway."""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import hashlib
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.acceptance.conftest import Answer, Gateway
from tests.listening import listening

#: What paths below /basic ask for: the user ann and the password s3cret.
BASIC = "Basic " + base64.b64encode(b"ann:s3cret").decode()


def weights(path: str) -> bytes:
    """A small file of weights, another one for each path."""
    data = hashlib.sha256(path.encode()).digest() * 64
    entry = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"tensor": entry}).encode()
    return struct.pack("<Q", len(header)) + header + data


class Host:
    """Serves weights under every path, but for those that say otherwise; counts what is asked."""

    def __init__(self) -> None:
        self.url = ""
        self.gets: collections.Counter[str] = collections.Counter()
        #: What begins with /gated waits for it.
        self.gate = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method == "GET":
            self.gets[path] += 1
        if path.startswith("/gated") and request.method == "GET":
            await self.gate.wait()
        if path.startswith("/private") and request.headers.get("Authorization") != "Bearer open":
            return web.Response(status=403 if "403" in path else 401)
        if path.startswith("/basic") and request.headers.get("Authorization") != BASIC:
            return web.Response(status=401)
        if path.startswith("/missing"):
            return web.Response(status=404)
        if path.startswith("/page"):
            return web.Response(text="<!doctype html><p>Log in.", content_type="text/html")
        return web.Response(body=weights(path), content_type="application/octet-stream")

    def asked(self, url: str) -> int:
        """How often the file of a URL was asked for."""
        return self.gets[url.removeprefix(self.url).partition("?")[0]]


@contextlib.asynccontextmanager
async def serving_weights() -> AsyncIterator[Host]:
    """Yield a host that listens."""
    made = Host()
    async with listening(web.route("*", "/{path:.*}", made.answer)) as made.url:
        yield made
        made.gate.set()


def cached_name(url: str) -> str:
    digest = hashlib.sha256(url.encode()).digest()
    return base64.urlsafe_b64encode(digest)[:32].decode() + ".safetensors"


def prompt(loader: str, name: str, value: str) -> dict[str, Any]:
    """A graph that decodes noise with what the loader gives."""
    return {
        "prompt": {
            "1": {"class_type": loader, "inputs": {name: value}},
            "2": {
                "class_type": "EmptyLatentImage",
                "inputs": {"width": 64, "height": 64, "batch_size": 1},
            },
            "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 0]}},
            "4": {
                "class_type": "SaveImage",
                "inputs": {"images": ["3", 0], "filename_prefix": "x"},
            },
        }
    }


async def download(gateway: Gateway, url: str, /, **fields: Any) -> Answer:
    body = {"url": url, "model_type": "vae", "wait": True} | fields
    return await gateway.ask("/download", body)


async def files(gateway: Gateway) -> dict[str, dict[str, Any]]:
    found = (await gateway.ask("/cache")).json["files"]
    return {file["name"]: file for file in found}


def link(gateway: Gateway, folder: str, name: str) -> Path:
    return gateway.folder / "model_dir" / folder / name
