"""?format=webp: the first picture of a job as it is, or in the type that was asked for."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, get_args

from aiohttp import web

from gateway import errors, metrics
from gateway.jobs.job import Job
from gateway.media import convert
from gateway.schemas import ConvertOutput, JobRequest

#: What a picture can be sent as; `json` asks for the usual answer, whatever Accept says.
FORMATS: tuple[str, ...] = get_args(ConvertOutput.model_fields["format"].annotation)
JSON = "json"


def asked_for(request: web.Request) -> str | None:
    """Return the format that the query names; raises InvalidRequest."""
    given = request.query.get("format")
    if given is None:
        return None
    if given.lower() not in (*FORMATS, JSON):
        allowed = ", ".join((*FORMATS, JSON))
        raise errors.InvalidRequest(
            f"There is no format {given[:40]!r}.", hint=f"Ask for {allowed}.", location="format"
        )
    return given.lower()


def check(request: web.Request, wanted: JobRequest, *, respond_async: bool) -> None:
    """Refuse a format that the request's own words are against; raises InvalidRequest."""
    form = asked_for(request)
    if form in (None, JSON):
        return
    if respond_async:
        raise errors.InvalidRequest(
            f"format={form} asks for the picture itself, and this request asks not to wait for it.",
            hint="Leave format out; the picture is at /jobs/{id}/outputs/0 once the job is over, "
            "and convert_output converts it.",
            location="format",
        )
    spec = wanted.convert_output
    if spec is not None and mime(spec.format) != mime(form or ""):
        raise errors.InvalidRequest(
            f"format={form} and convert_output.format {spec.format!r} are two formats.",
            hint="Name one; convert_output has options, too.",
            location="format",
        )


def mime(form: str) -> str:
    """Return the type of a format."""
    return f"image/{'jpeg' if form == 'jpg' else form}"


def picture_of(job: Job, form: str) -> dict[str, Any]:
    """Return the output that is sent; raises NotAcceptable when no output is a picture."""
    found = job.result["outputs"]
    for entry in found:
        if str(entry["content_type"]).startswith("image/"):
            return dict(entry)
    made = ", ".join(sorted({entry["content_type"] for entry in found})) or "no file"
    raise errors.NotAcceptable(
        f"format={form} asks for a picture; the job made {made}.",
        hint=f"Fetch it from /jobs/{job.id}/outputs/0, or leave format out.",
        id=job.id,
    )


async def converted(job: Job, entry: dict[str, Any], form: str) -> bytes:
    """Return a picture in a format; raises NotAcceptable when it cannot be converted."""
    spec = ConvertOutput.model_validate({"format": form})
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="comfy-gateway-")
    try:
        done = await convert.convert(Path(entry["path"]), spec, Path(folder.name) / f"new.{form}")
        if isinstance(done, convert.Kept):
            raise errors.NotAcceptable(
                done.reason or f"{entry['content_type']} is not converted to {form}.",
                hint=f"Fetch it as it is from /jobs/{job.id}/outputs/{entry['index']}.",
                id=job.id,
            )
        raw = await asyncio.to_thread(done.path.read_bytes)
    finally:
        await asyncio.to_thread(folder.cleanup)
    metrics.bytes_out_total.inc(len(raw))
    return raw
