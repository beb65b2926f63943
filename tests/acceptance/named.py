"""A folder of named workflows, and requests to them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.conftest import Answer, Gateway
from tests.acceptance.graphs import empty_image, load_image, no_such_model

COLOR = """\
description: A picture of one colour
parameters:
  side: {type: integer, default: 8, min: 1, max: 64, bind: [1.inputs.width, 1.inputs.height]}
  color: {type: integer, default: 255, min: 0, max: 16777215, bind: 1.inputs.color}
  name: {type: string, default: hello, bind: 2.inputs.filename_prefix}
  kind: {type: enum, choices: [plain, odd], default: plain, bind: 2.inputs.kind}
"""
PHOTO = """\
parameters:
  photo: {type: image, required: true, bind: 1.inputs.image}
  name: {type: string, default: hello, bind: 2.inputs.filename_prefix}
"""
_FIELDS = """\
parameters:
  id: {type: integer, default: 1, bind: 1.inputs.color}
  input: {type: string, default: x, bind: 1.inputs.kind}
"""


def _lacking() -> dict[str, Any]:
    graph = {**empty_image(), "9": {"class_type": "NoSuchNode", "inputs": {}}}
    no_such_model(graph)
    return graph


def _drawn() -> dict[str, Any]:
    # A node that no output needs: its seed is told all the same.
    return {**empty_image(), "3": {"class_type": "KSampler", "inputs": {"seed": 1}}}


#: name -> (graph, manifest)
WORKFLOWS: dict[str, tuple[dict[str, Any], str]] = {
    "color": (empty_image(kind=0), COLOR.replace("2.inputs.kind", "1.inputs.kind")),
    "photo": (load_image("nothing.png"), f"route: /tryon\n{PHOTO}"),
    "people/portrait": (empty_image(), "parameters: {}\n"),
    "prompt": (empty_image(), "parameters: {}\n"),
    "Füße im Gras": (empty_image(), "parameters: {}\n"),
    "fields": (
        empty_image(kind=""),
        _FIELDS,
    ),
    "lacking": (_lacking(), "parameters: {}\n"),
    "drawn": (_drawn(), "parameters: {seed: {type: seed, default: random, bind: 3.inputs.seed}}\n"),
}


def write(folder: Path, workflows: dict[str, tuple[dict[str, Any], str]] = WORKFLOWS) -> Path:
    """Fill a folder, and return it."""
    for name, (graph, manifest) in workflows.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(graph))
        path.with_suffix(".yaml").write_text(manifest)
    return folder


async def submit(
    gateway: Gateway, path: str, *parts: tuple[str, Any] | tuple[str, Any, str], **fields: str
) -> Answer:
    """Send a form: `(name, value)` is text, `(name, bytes, file name)` a file."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value, *filename in parts:
        if filename:
            form.add_field(name, io.BytesIO(value), filename=filename[0])
        else:
            form.add_field(name, value)
    for name, text in fields.items():
        form.add_field(name, text)
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.url + path, data=form, headers=gateway.headers) as reply,
    ):
        return Answer(reply.status, dict(reply.headers), await reply.read())
