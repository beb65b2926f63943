"""Forms: files and texts become the body that JSON would have been."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway import clock, errors, metrics
from gateway.api import asked, media_values, rehearsal
from gateway.api.asked import Received
from gateway.api.parts import PARTS, Parts
from gateway.schemas import JobRequest
from gateway.workflows import values

#: The type of a form that may have files.
MULTIPART = "multipart/form-data"
_URLENCODED = "application/x-www-form-urlencoded"
_MOST_PARTS = 256
_CHUNK = 64 * 1024
_NAME_SHOWN = 100
#: Fields of a request that are text; the others stand in a form as JSON.
_TEXTS = ("id", "webhook_v2", "webhook", "preset", "lora_preset")
_CUT = "Send it whole, as `curl -F` or a browser does, with the boundary that Content-Type names."


@dataclass(frozen=True)
class Accepts:
    """What the parts of a form may be called."""

    #: Parameter -> what it may be, as answers say it.
    parameters: dict[str, str]
    #: Those of them that take a file.
    files: frozenset[str]
    #: Nobody knows any more what there was: whatever comes is read, and no file is kept.
    is_unknown: bool = False


@dataclass(frozen=True)
class Form:
    """A form that was read; its body is what JSON would have been."""

    received: Received
    #: What is wrong with its files, as `values.problem` tells it.
    problems: list[dict[str, Any]]


def is_form(request: web.Request) -> bool:
    """Whether a body is a form, by its Content-Type."""
    return request.content_type in (MULTIPART, _URLENCODED)


async def receive(request: web.Request, accepts: Accepts, scope: str) -> Form:
    """Read a form; its files are inputs from here on.

    Raises InvalidRequest, BodyTooLarge, RequestTimeout, StorageFull.
    """
    received_at = clock.now()
    parts_of = rehearsal.rehearsing if accepts.is_unknown else rehearsal.parts_of
    taking = Taking(parts_of(request), accepts)
    if request.content_type == _URLENCODED:
        raw = await asked.read(request)
        if raw.lstrip()[:1] == b"{":
            raise errors.InvalidRequest(
                f"The body looks like JSON, and its Content-Type says {_URLENCODED}.",
                hint="Send `Content-Type: application/json` along; `curl --json` does.",
            )
        await taking.take_fields(raw)
    else:
        await read_parts(request, taking)
    body = taking.body()
    received = await asked.received(request, body, [body, taking.files], scope, received_at)
    return Form(received, taking.problems)


async def read_parts(request: web.Request, taking: Taking) -> None:
    """Have each part of a form taken; raises as `receive`."""
    limit_mb = request.app[PARTS].settings.max_body_size_mb
    if (request.content_length or 0) > limit_mb * (1 << 20):
        raise _too_large(limit_mb)
    if "boundary=" not in request.headers.get("Content-Type", "").lower():
        raise errors.InvalidRequest(
            f"Content-Type is {MULTIPART}, and names no boundary.",
            hint="Let your HTTP client set Content-Type: it knows the boundary.",
        )
    try:
        async with asyncio.timeout(asked.BODY_TIMEOUT_S):
            reader = await request.multipart()
            while (part := await reader.next()) is not None:
                await taking.take(part)
    except TimeoutError:
        raise errors.RequestTimeout from None
    except (
        web.RequestPayloadError,
        HttpProcessingError,
        ValueError,
        LookupError,
        AssertionError,
        RuntimeError,
    ) as failure:
        # All that aiohttp's reader raises for a form that is not one.
        raise errors.InvalidRequest(
            f"The form is cut off, or is none: {str(failure)[:200]}.", hint=_CUT
        ) from None
    finally:
        metrics.bytes_in_total.labels("body").inc(taking.size)


def _too_large(limit_mb: float) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(
        f"The form is larger than {limit_mb:g} MB (MAX_BODY_SIZE_MB).",
        hint="Send large inputs by URL.",
    )


@dataclass
class Taking:
    """A form as far as it was read."""

    parts: Parts
    accepts: Accepts
    #: Bytes so far.
    size: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    #: Parameters whose value is a file of this form.
    files: list[str] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def body(self) -> dict[str, Any]:
        """Return what JSON would have been."""
        whole = self.fields.pop("input", {})
        twice = sorted(whole.keys() & self.values.keys())
        if twice:
            raise errors.InvalidRequest(
                f"{twice[0][:_NAME_SHOWN]} is given twice: as a part, and in `input`.",
                location=f"input.{twice[0][:_NAME_SHOWN]}",
            )
        return {**self.fields, "input": {**whole, **self.values}}

    async def take_fields(self, raw: bytes) -> None:
        """Take a form whose values are all text."""
        try:
            found = parse_qsl(
                raw.decode("utf-8"),
                keep_blank_values=True,
                max_num_fields=_MOST_PARTS,
                errors="strict",
            )
        except ValueError as failure:
            raise errors.InvalidRequest(f"The form cannot be read: {failure}.") from None
        for name, text in found:
            self._enter(name)
            await self._take_text(name, text)

    async def take(self, part: aiohttp.BodyPartReader | aiohttp.MultipartReader) -> None:
        """Take one part."""
        if not isinstance(part, aiohttp.BodyPartReader):
            raise errors.InvalidRequest(
                "A part of the form is multipart itself.", hint="Send each file as a part."
            )
        name = part.name
        if not name:
            raise errors.InvalidRequest(
                f"Part {len(self.seen) + 1} of the form has no name.",
                hint='Each has: Content-Disposition: form-data; name="<parameter>".',
            )
        self._enter(name)
        if part.filename is not None:
            await self._take_file(name, part.filename, part)
            return
        raw = b"".join([chunk async for chunk in self._chunks(part)])
        try:
            text = raw.decode(part.get_charset(default="utf-8"))
            # UTF-7, for one, can say halves of characters, which JSON cannot hold.
            text.encode()
        except (UnicodeError, LookupError):
            raise errors.InvalidRequest(
                f"{name[:_NAME_SHOWN]}: this part is not text in UTF-8.",
                hint="A part that is a file has a filename, too.",
                location=self._location(name),
            ) from None
        await self._take_text(name, text)

    def _enter(self, name: str) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise errors.InvalidRequest(
                f"The name of part {len(self.seen) + 1} of the form is not in UTF-8.",
                hint='Each has: Content-Disposition: form-data; name="<parameter>".',
            )
        if name in self.seen:
            raise errors.InvalidRequest(
                f"The form has two parts called {name[:_NAME_SHOWN]!r}.",
                hint="Each parameter and each field has one value.",
                location=self._location(name),
            )
        self.seen.add(name)
        if len(self.seen) > _MOST_PARTS:
            raise errors.InvalidRequest(f"The form has more than {_MOST_PARTS} parts.")

    def _location(self, name: str) -> str:
        shown = name[:_NAME_SHOWN]
        return shown if self._is_field(name) else f"input.{shown}"

    def _is_field(self, name: str) -> bool:
        known = name == "input" or name in JobRequest.model_fields
        return known and name not in self.accepts.parameters

    async def _take_text(self, name: str, text: str) -> None:
        if not self._is_field(name):
            self.values[name] = text
        elif name in _TEXTS:
            self.fields |= {name: text} if text else {}
        elif text.strip():
            read = partial(self._json, name, text)
            is_large = len(text) > asked.LARGE
            self.fields[name] = await asyncio.to_thread(read) if is_large else read()

    def _json(self, name: str, text: str) -> Any:
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as failure:
            raise errors.InvalidRequest(
                f"{name}: in a form it holds JSON, and this is none: {failure}.",
                hint=_hint_of(name),
                location=name,
            ) from None
        asked.check_depth(found, self.parts.settings.max_json_depth)
        if name == "input" and not isinstance(found, dict):
            raise errors.InvalidRequest(
                "input: it is not an object.", hint=_hint_of(name), location=name
            )
        return found

    async def _take_file(self, name: str, filename: str, part: aiohttp.BodyPartReader) -> None:
        before, wrong = self.size, self._why_no_file(name)
        # What is refused is read too: it may be a retry, of when the workflow took a file here.
        inputs = self.parts.inputs if wrong is None else self.parts.inputs.rehearsing()
        try:
            admitted = await inputs.receive(self._chunks(part), location=f"input.{name}")
        except errors.BodyTooLarge:
            raise
        except errors.RequestRefused as failure:
            wrong = wrong or media_values.sentence(failure)
            async for _ in self._chunks(part):
                # The others are looked at too: all that is wrong is told at once.
                pass
        else:
            self.files.append(name)
            self.values |= {} if self._is_field(name) else {name: admitted.name}
        if wrong is not None and (self.size > before or filename):
            # Without either, it is how a browser sends a file that was not chosen.
            told = f"a file {filename[:_NAME_SHOWN]!r}"
            self.problems.append(values.problem(name, told, self._allowed(name), wrong))

    def _why_no_file(self, name: str) -> str | None:
        if name in self.accepts.files:
            return None
        if self._is_field(name):
            return "it is a field of the request: send it as text, without a filename"
        if self.accepts.is_unknown:
            return None
        return (
            "it takes no file" if name in self.accepts.parameters else "there is no such parameter"
        )

    def _allowed(self, name: str) -> str:
        takes = ", ".join(sorted(self.accepts.files)) or "there is none"
        return self.accepts.parameters.get(name, f"one of the parameters that take a file: {takes}")

    async def _chunks(self, part: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
        limit_mb = self.parts.settings.max_body_size_mb
        while not part.at_eof():
            chunk = await part.read_chunk(_CHUNK)
            self.size += len(chunk)
            if self.size > limit_mb * (1 << 20):
                raise _too_large(limit_mb)
            async for piece in part.decode_iter(chunk):
                if piece:
                    yield bytes(piece)


def _hint_of(name: str) -> str:
    example = {
        "input": '{"prompt": "a cat"}',
        "convert_output": '{"format": "webp"}',
        "priority": "10",
        "timeout": "60",
    }
    return f"For example: {example.get(name, 'what JSON requests have in this field')}."
