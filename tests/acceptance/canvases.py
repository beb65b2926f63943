"""Workflows of the canvas, and files, forms and a host that have them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.api.descriptions import CANVAS_EXAMPLE
from tests.acceptance.conftest import Answer, Gateway, png
from tests.acceptance.graphs import Graph, empty_image
from tests.listening import listening

TOKEN = "only-for-the-files"
CONVERTED = "The workflow was converted from the format of the canvas."
UNCHANGED = "The workflow is in API format already: it is as it was given."
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


def canvas(**of_the_node: Any) -> dict[str, Any]:
    """Return the canvas that `empty_image` would be saved as."""
    found: dict[str, Any] = json.loads(json.dumps(CANVAS_EXAMPLE))
    found["nodes"][0] |= {"widgets_values": [8, 4, 1, 0x00FF00], **of_the_node}
    found["nodes"][1] |= {"widgets_values": ["picture"]}
    # As the newer version of the format has it; it is not the job's.
    return {**found, "id": "6f1a52c0-3c0f-4f3e-9e2f-000000000000", "extra": {"ds": {"scale": 1}}}


def saved(**texts: str) -> bytes:
    """Return a picture with these texts in it, as ComfyUI saves it."""
    found = PngInfo()
    for name, text in texts.items():
        found.add_text(name, text)
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG", pnginfo=found)
    return file.getvalue()


def text(value: Any) -> str:
    return json.dumps(value)


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def form(*parts: tuple[str, str | bytes], name: str = "") -> bytes:
    """Return a form; with a file where the content is bytes."""
    found = b""
    for part, content in parts:
        raw = content if isinstance(content, bytes) else content.encode()
        more = f'; filename="{name}"' if isinstance(content, bytes) else ""
        head = f'Content-Disposition: form-data; name="{part}"{more}\r\n\r\n'
        found += b"--edge\r\n" + head.encode() + raw + b"\r\n"
    return found + b"--edge--\r\n"


async def convert(gateway: Gateway, prompt: Any, **fields: Any) -> Answer:
    return await gateway.ask("/convert", {"prompt": prompt, **fields})


#: path -> what the host has there; a path below /private is given to whoever has the token.
FILES: dict[str, bytes] = {
    "/graph.json": json.dumps(empty_image()).encode(),
    "/request.json": json.dumps({"id": "not-this", "prompt": empty_image()}).encode(),
    "/canvas.json": b"\xef\xbb\xbf" + json.dumps(canvas()).encode(),
    "/graph.png": saved(prompt=text(empty_image()), workflow=text(canvas())),
    "/canvas.png": saved(workflow=text(canvas())),
    "/private/graph.json": json.dumps(empty_image()).encode(),
    "/bare.png": png(),
    "/page.png": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "/empty.json": b"",
    "/list.json": b"[1, 2]",
    "/cut.json": b'{"1": {"class_type": ',
    "/large.json": b'{"1": "' + b"x" * 1_100_000 + b'"}',
    "/other.bin": b"MZ\x90\x00\x03",
}


async def give(request: web.Request) -> web.Response:
    if request.path.startswith("/private") and TOKEN not in request.headers.get(
        "Authorization", ""
    ):
        return web.Response(status=401)
    if request.path not in FILES:
        return web.Response(status=404)
    return web.Response(body=FILES[request.path])


@pytest.fixture
async def files() -> AsyncIterator[str]:
    async with listening(web.get("/{path:.*}", give)) as url:
        yield url


def bare(graph: Graph) -> Graph:
    """Return a graph without the titles of its nodes."""
    return {
        node_id: {key: value for key, value in node.items() if key != "_meta"}
        for node_id, node in graph.items()
    }
