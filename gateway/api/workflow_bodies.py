"""The bodies in which a workflow comes: JSON about it, the workflow itself, a file, or a form."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from gateway import clock, errors, given, graph
from gateway.api import asked, forms
from gateway.api.asked import Received
from gateway.api.converting import Source
from gateway.api.parts import PARTS
from gateway.media import sniff
from gateway.schemas import JobRequest

FIELD = "prompt"
_FAMILIES = ("image", "audio", "video")


@dataclass(frozen=True)
class Sent:
    """A body that was read; with a `file`, its `prompt` says nothing."""

    received: Received
    file: bytes | None = None

    def source(self, prompt: Source) -> Source:
        """Return what stands in place of a graph; `prompt` is the field as it was understood."""
        return prompt if self.file is None else self.file


async def receive(request: web.Request) -> Sent:
    """Read a body; raises as `asked.receive` and `forms.receive`."""
    received_at = clock.now()
    if request.content_type == forms.MULTIPART:
        return await _of_form(request, received_at)
    raw = await asked.read(request)
    if _is_file(request, raw):
        body = {FIELD: ""}
        told = [await asyncio.to_thread(_digest, raw)]
        received = await asked.received(request, body, told, "", received_at, is_large=False)
        return Sent(received, raw)
    received = await asked.of_json(request, raw, received_at)
    if _is_workflow(received.body):
        received = dataclasses.replace(received, body={FIELD: received.body})
    return Sent(received)


def _is_workflow(body: Any) -> bool:
    """Whether a body is the workflow itself, and no request about one."""
    if not isinstance(body, dict) or not body or FIELD in body:
        return False
    return graph.is_ui_format(body) or all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) for node in body.values()
    )


def _is_file(request: web.Request, raw: bytes) -> bool:
    """Whether a body is a file, by its bytes; Content-Type decides where these tell nothing."""
    if not raw or given.is_json(raw[: sniff.HEAD_BYTES]):
        return False
    is_declared = request.content_type.partition("/")[0] in _FAMILIES
    return is_declared or sniff.kind_of(raw[: sniff.HEAD_BYTES]) is not None


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


async def _of_form(request: web.Request, received_at: float) -> Sent:
    taking = _Taking(request.app[PARTS], forms.Accepts({}, frozenset()))
    await forms.read_parts(request, taking)
    file = None if taking.file is None else bytes(taking.file)
    body = taking.body()
    told = [body, None if file is None else await asyncio.to_thread(_digest, file)]
    return Sent(await asked.received(request, body, told, "", received_at), file)


@dataclass
class _Taking(forms.Taking):
    """A form whose part `prompt` is a file, JSON, or a text that stands for a file."""

    file: bytearray | None = None

    def body(self) -> dict[str, object]:
        """Return what JSON would have been; what no field is called so is told by `parse`."""
        return {**self.values, **self.fields}

    def _is_field(self, name: str) -> bool:
        return name == FIELD or name in JobRequest.model_fields

    async def _take_text(self, name: str, text: str) -> None:
        if name == FIELD and not given.is_json(text[: sniff.HEAD_BYTES].encode()):
            self.fields[name] = text
        else:
            await super()._take_text(name, text)

    async def _take_file(self, name: str, filename: str, part: aiohttp.BodyPartReader) -> None:
        content = bytearray()
        async for chunk in self._chunks(part):
            content += chunk
        if not content and not filename:
            # How a browser sends a file that was not chosen.
            return
        if name != FIELD:
            raise errors.InvalidRequest(
                f"{name[:100]}: only {FIELD} takes a file.",
                hint="Files that the workflow reads stand in its nodes, by URL or as base64.",
                location=name[:100],
            )
        self.file = content
        self.fields[FIELD] = ""
