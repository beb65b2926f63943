"""The outputs of a job on their way out: JSON with base64, raw bytes, or one file."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from gateway import errors, metrics
from gateway.api import graph_json, raw_format
from gateway.jobs import answer
from gateway.jobs.job import Job

_RAW = ("image/", "video/", "audio/")
_BOUNDARY = re.compile(rb"[^A-Za-z0-9]")


async def respond(request: web.Request, job: Job) -> web.StreamResponse:
    """Return a job that succeeded as `format` or `Accept` asks: JSON unless they name raw types."""
    form = raw_format.asked_for(request)
    if form is not None:
        is_json = form == raw_format.JSON
        return await (_json(request, job) if is_json else _one(request, job, form))
    wanted = accepted_types(request.headers.get("Accept", ""))
    outputs = job.result["outputs"]
    if not wanted:
        return await _json(request, job)
    if "multipart/mixed" in wanted:
        return await _multipart(request, job, outputs)
    entry = next((found for found in outputs if _matches(found, wanted)), None)
    if entry is None:
        raise _not_acceptable(job, wanted)
    return await _sent(request, job, entry)


async def _sent(request: web.Request, job: Job, entry: dict[str, Any]) -> web.StreamResponse:
    response = _file(job, entry)
    # Sent here and now: when this returns, the job's files may go.
    response.headers.update(_headers(job))
    await response.prepare(request)
    return response


async def _one(request: web.Request, job: Job, form: str) -> web.StreamResponse:
    """Return the first picture in a format: the file itself where it is of that type already."""
    entry = raw_format.picture_of(job, form)
    if entry["content_type"] == raw_format.mime(form):
        return await _sent(request, job, entry)
    await _check_files(job, [entry])
    raw = await raw_format.converted(job, entry, form)
    name = f"{Path(entry['filename']).stem}.{form}"
    headers = {**_headers(job), **_disposition({"filename": name})}
    return web.Response(body=raw, content_type=raw_format.mime(form), headers=headers)


def accepted_types(accept: str) -> list[str]:
    """Return the raw types that an Accept header asks for before JSON; empty means JSON."""
    ranked = []
    for position, part in enumerate(accept.lower().split(",")):
        name, *parameters = [piece.strip() for piece in part.split(";")]
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            ranked.append((-float(quality), position, name))
        except ValueError:
            continue
    names = [name for quality, _, name in sorted(ranked) if quality < 0]
    raw = []
    for name in names:
        if name in ("application/json", "*/*", "application/*"):
            break
        if name == "multipart/mixed" or name.startswith(_RAW):
            raw.append(name)
    return raw


def _matches(entry: dict[str, Any], wanted: list[str]) -> bool:
    kind = str(entry["content_type"])
    return any(name == kind or (name[-1] == "*" and kind.startswith(name[:-1])) for name in wanted)


def _not_acceptable(job: Job, wanted: list[str]) -> errors.NotAcceptable:
    found = sorted({entry["content_type"] for entry in job.result["outputs"]})
    return errors.NotAcceptable(
        f"Accept asks for {', '.join(wanted)[:100]}; the job made {', '.join(found) or 'no file'}.",
        hint=f"Fetch them from /jobs/{job.id}, or ask for convert_output.",
        id=job.id,
    )


async def _json(request: web.Request, job: Job) -> web.StreamResponse:
    write = partial(answer.success, job, encode=graph_json.encoded)
    is_large = len(job.graph) > graph_json.LARGE_GRAPH
    body = await asyncio.to_thread(write) if is_large else answer.success(job)
    length = body.length
    if length <= answer.SMALL:
        try:
            raw = b"".join([chunk async for chunk in body.chunks()])
        except OSError:
            raise _gone(job) from None
        metrics.bytes_out_total.inc(len(raw))
        return web.Response(
            body=raw, content_type="application/json", charset="utf-8", headers=_headers(job)
        )
    await _check_files(job, [one for one in job.result["outputs"] if "uploaded_to" not in one])
    response = web.StreamResponse(headers=_headers(job))
    response.content_type = "application/json"
    response.charset = "utf-8"
    response.content_length = length
    await response.prepare(request)
    # A file that goes away from here on breaks the connection short of Content-Length,
    # which every client notices.
    async for chunk in body.chunks():
        await response.write(chunk)
    metrics.bytes_out_total.inc(length)
    await response.write_eof()
    return response


def _file(job: Job, entry: dict[str, Any]) -> web.FileResponse:
    path = Path(entry["path"])
    if not path.is_file():
        raise _gone(job)
    metrics.bytes_out_total.inc(entry["size"])
    location = f"/jobs/{job.id}/outputs/{entry['index']}"
    headers = {"Content-Type": entry["content_type"], "Content-Location": location}
    return web.FileResponse(path, headers={**headers, **_disposition(entry)})


def output(job: Job, name: str) -> web.FileResponse:
    """Return one file, with ranges; raises as `entry_of`."""
    return _file(job, entry_of(job, name))


def entry_of(job: Job, name: str) -> dict[str, Any]:
    """Return one output; `name` is its index, or index-name. Raises OutputNotFound."""
    index = name.partition("-")[0]
    entries = job.result.get("outputs", [])
    entry: dict[str, Any] | None = next(
        (found for found in entries if str(found["index"]) == index), None
    )
    if entry is None:
        raise errors.OutputNotFound(
            f"Job {job.id} has {len(entries)} outputs, counted from 0; {name[:100]!r} is not one.",
            id=job.id,
        )
    return entry


async def _multipart(
    request: web.Request, job: Job, outputs: list[dict[str, Any]]
) -> web.StreamResponse:
    await _check_files(job, outputs)
    boundary = _BOUNDARY.sub(b"", orjson.dumps(job.id)).decode()[:40] + "-part"
    response = web.StreamResponse(headers=_headers(job))
    response.headers["Content-Type"] = f'multipart/mixed; boundary="{boundary}"'
    await response.prepare(request)
    for entry in outputs:
        lines = {
            **_disposition(entry),
            "Content-Type": entry["content_type"],
            "Content-Length": str(entry["size"]),
        }
        head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        await response.write(f"--{boundary}\r\n{head}\r\n".encode())
        async for chunk in answer.raw_chunks(Path(entry["path"]), entry["size"]):
            await response.write(chunk)
        await response.write(b"\r\n")
        metrics.bytes_out_total.inc(entry["size"])
    await response.write(f"--{boundary}--\r\n".encode())
    await response.write_eof()
    return response


def _headers(job: Job) -> dict[str, str]:
    return {"X-Job-Id": job.id}


def _disposition(entry: dict[str, Any]) -> dict[str, str]:
    name = str(entry["filename"])
    return {"Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}"}


async def _check_files(job: Job, entries: list[dict[str, Any]]) -> None:
    paths = [Path(entry["path"]) for entry in entries]
    if not await asyncio.to_thread(lambda: all(path.is_file() for path in paths)):
        raise _gone(job)


def _gone(job: Job) -> errors.OutputNotFound:
    return errors.OutputNotFound(
        f"The files of job {job.id} are gone: their time (OUTPUT_TTL_S) has run out.", id=job.id
    )
