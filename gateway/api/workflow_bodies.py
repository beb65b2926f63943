"""The bodies in which a workflow comes: JSON about it, the workflow itself, a file, or a form."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from gateway import clock, errors, given, written
from gateway.api import asked, forms, no_json
from gateway.api.asked import Received
from gateway.api.converting import Source
from gateway.api.parts import PARTS
from gateway.media import sniff
from gateway.schemas import JobRequest

FIELD = "prompt"
_FAMILIES = ("image", "audio", "video")
_EXAMPLE = 'It is the whole body, or stands at its field: {"prompt": {...}}.'


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
    no_json.check_whole(raw)
    if _is_file(request, raw):
        body = {FIELD: ""}
        told = [await asyncio.to_thread(_digest, raw)]
        received = await asked.received(request, body, told, "", received_at, is_large=False)
        return Sent(received, raw)
    received = await _of_json(request, raw, received_at)
    return Sent(dataclasses.replace(received, body=_about(received.body)))


async def _of_json(request: web.Request, raw: bytes, received_at: float) -> Received:
    try:
        return await asked.of_json(request, raw, received_at)
    except errors.InvalidJson as failure:
        most = request.app[PARTS].settings.max_json_depth
        found = await asyncio.to_thread(_loosely, raw, most)
        if found is None:
            no_json.explain(failure, raw)
            raise
    return await asked.received(request, found, found, "", received_at)


def _loosely(raw: bytes, most: int) -> dict[str, Any] | None:
    """Return a workflow that is the whole body, and JSON as custom nodes write it: with NaN."""
    if not written.is_json(raw):
        return None
    try:
        found = written.parse(raw)
    except written.NotJson:
        return None
    is_bare = isinstance(found, dict) and FIELD not in found and written.is_workflow(found)
    return found if is_bare and not written.is_deeper(found, most) else None


def _about(body: Any) -> Any:
    """Return a request, where a body is the workflow itself; raises InvalidRequest."""
    if not isinstance(body, dict) or not body or FIELD in body:
        return body
    found = written.unwrapped(body)
    if written.is_workflow(found.workflow):
        # What stands beside it is of the request, where the workflow does not stand alone.
        others = {} if found.key is None else {k: v for k, v in body.items() if k != found.key}
        return {**others, FIELD: found.workflow}
    if body.keys() & JobRequest.model_fields.keys():
        return body
    raise errors.InvalidRequest(
        f"The body is no workflow, and has none at {FIELD}: {', '.join(list(body)[:3])[:100]}.",
        hint=f"A workflow is an object: of nodes by id, or with `nodes` and `links`. {_EXAMPLE}",
        location=FIELD,
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
            await super()._take_text(name, text.removeprefix("\ufeff"))

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
