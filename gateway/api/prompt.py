"""POST /prompt: a workflow in, pictures out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from gateway import clock, errors, graph, metrics
from gateway.api import admission, pictures
from gateway.api.middleware import OWNER, json_response
from gateway.api.parts import PARTS, Parts
from gateway.jobs import answer
from gateway.jobs.job import Job, State
from gateway.jobs.vault import Secrets
from gateway.media import destinations, options
from gateway.schemas import Credential, PromptRequest, invalid_request, parse_prompt

#: Bodies above this are parsed and hashed in a thread: the loop serves others meanwhile.
_LARGE = 256 * 1024
_BODY_TIMEOUT_S = 300.0
#: A job's end is told when it is on the disk; its record may be gone a moment before.
_LAST_WORD_S = 5.0
_KEY_LENGTH = 255
_NOT_ECHOED = ("prompt", "id", "credentials", "extra_data")


@dataclass(frozen=True)
class Asked:
    """A request that was understood, before anything was done for it."""

    body: dict[str, Any]
    request: PromptRequest
    warnings: list[str]
    fingerprint: str
    idempotency_key: str | None
    owner: str | None
    received_at: float

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody but this connection can ask about the job."""
        return self.request.id is None and self.idempotency_key is None


async def post_prompt(request: web.Request) -> web.StreamResponse:
    """Run a workflow and answer with its outputs, or say why not."""
    parts = request.app[PARTS]
    asked = await _asked(request, parts)
    is_preferred = _prefers_async(request)
    respond_async = is_preferred or asked.request.is_async
    job_id = asked.request.id or str(uuid.uuid4())
    async with parts.waiters.expect(job_id) as over:
        job = await _accepted_or_joined(parts, asked, job_id, respond_async)
        if respond_async and not job.state.is_terminal:
            # Sent here and now: the webhook about the job waits for this answer.
            return await _sent(request, _accepted(job, is_preferred))
        if job.id != job_id:
            # It has this Idempotency-Key, and a name of its own.
            async with parts.waiters.expect(job.id) as others:
                job = await _wait(parts, job, others, asked, look_again=True)
        else:
            job = await _wait(parts, job, over, asked)
        return await _answer(request, job)


def _prefers_async(request: web.Request) -> bool:
    given = ",".join(request.headers.getall("Prefer", ()))
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in given.split(","))


async def _asked(request: web.Request, parts: Parts) -> Asked:
    received_at = clock.now()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            raw = await request.read()
    except TimeoutError:
        raise errors.RequestTimeout from None
    except web.RequestPayloadError as failure:
        raise errors.InvalidJson(
            f"The body could not be read: {str(failure)[:200]}.",
            hint="Send it whole, and packed as its Content-Encoding says.",
        ) from None
    metrics.bytes_in_total.labels("body").inc(len(raw))
    large = len(raw) > _LARGE
    body = await asyncio.to_thread(_loads, raw) if large else _loads(raw)
    check_depth(body, parts.settings.max_json_depth)
    wire, warnings = parse_prompt(body, strict=parts.settings.strict_requests)
    fingerprint = (
        await asyncio.to_thread(_fingerprint, body, parts.salt)
        if large
        else _fingerprint(body, parts.salt)
    )
    owner = request.get(OWNER)
    key = request.headers.get("Idempotency-Key")
    # What is no UTF-8 arrives as halves of characters, which are not printable either.
    if key is not None and not (0 < len(key) <= _KEY_LENGTH and key.isprintable()):
        raise errors.InvalidRequest(
            f"Idempotency-Key has 1 to {_KEY_LENGTH} characters, all of them printable.",
            location="Idempotency-Key",
        )
    scoped = None if key is None else f"{owner or ''}:{key}"
    return Asked(body, wire, warnings, fingerprint, scoped, owner, received_at)


def _loads(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as failure:
        raise errors.InvalidJson(
            f"The body is not JSON: {str(failure)[:200]}.",
            hint='Send {"prompt": {<node id>: {"class_type": ..., "inputs": {...}}}}.',
        ) from None


def check_depth(body: Any, most: int) -> None:
    """Raise InvalidJson when the value nests deeper than MAX_JSON_DEPTH."""
    level: list[Any] = [body]
    for _ in range(most):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise errors.InvalidJson(f"The body nests deeper than {most} levels (MAX_JSON_DEPTH).")


def _children(value: Any) -> Iterator[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (child for child in found if isinstance(child, dict | list))


def _fingerprint(body: Any, salt: bytes) -> str:
    return hashlib.sha256(salt + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def _accepted_or_joined(parts: Parts, asked: Asked, job_id: str, respond_async: bool) -> Job:
    """Return the new job, or the one that has its id or its key already; raises IdTaken.

    Nearly all are new, so it is not asked first: the store knows when it is put.
    """
    try:
        return await _accept(parts, asked, job_id, respond_async)
    except errors.GatewayError:
        # A full queue, or a ComfyUI that is down, keeps nobody from joining.
        existing = await _existing(parts, asked, job_id)
        if existing is None:
            raise
        return existing


async def _existing(parts: Parts, asked: Asked, job_id: str) -> Job | None:
    """Return the job that this request joins; raises IdTaken."""
    found = None
    if asked.request.id is not None:
        found = await parts.store.get(job_id)
    elif asked.idempotency_key is not None:
        found = await parts.store.by_key(asked.idempotency_key)
    if found is not None:
        _check_same(found, asked)
    return found


def _check_same(job: Job, asked: Asked) -> None:
    if job.fingerprint == asked.fingerprint:
        return
    if job.id == asked.request.id:
        raise errors.IdTaken(
            f"A different request has the id {job.id} already.", location="id", id=job.id
        )
    raise errors.IdTaken(
        f"A different request has this Idempotency-Key already: job {job.id}.",
        location="Idempotency-Key",
        id=job.id,
    )


async def _accept(parts: Parts, asked: Asked, job_id: str, respond_async: bool) -> Job:
    """Check a new request, and make it ours."""
    await _check_room(parts, asked.owner)
    _check_options(asked.request)
    _check_webhooks(parts, asked.request)
    fields, own = _check_destination(parts, asked)
    workflow = graph.check_shape(asked.request.prompt)
    graph.check_prefixes(workflow, job_id)
    admitted = await admission.admit(parts, workflow)
    credentials = [*asked.request.credentials, *admitted.credentials, *own]
    secrets = Secrets(credentials, asked.request.extra_data)
    timeout = asked.request.timeout
    held = {*admitted.made, *parts.inputs.named_in(admitted.workflow)}
    job = Job(
        id=job_id,
        request={key: value for key, value in fields.items() if key not in _NOT_ECHOED},
        graph=admitted.workflow,
        models=admitted.models,
        inputs=sorted(held),
        fingerprint=asked.fingerprint,
        created_at=asked.received_at,
        priority=asked.request.priority,
        is_anonymous=asked.is_anonymous and not respond_async,
        needs_fetch=admitted.needs_fetch,
        needs_secrets=bool(secrets),
        idempotency_key=asked.idempotency_key,
        owner=asked.owner,
        deadline=None if timeout is None else asked.received_at + timeout,
        warnings=asked.warnings,
    )
    putting = asyncio.create_task(_put(parts, job, secrets, held))
    try:
        stored = await asyncio.shield(putting)
    except asyncio.CancelledError:
        parts.background.spawn(_deserted(parts, job, putting))
        raise
    _check_same(stored, asked)
    return stored


async def _put(parts: Parts, job: Job, secrets: Secrets, held: set[str]) -> Job:
    """Return the job, or the one that has its id or its key; it goes on when its client leaves."""
    # Before the job is put: a worker may claim it at once.
    parts.vault.put(job, secrets)
    parts.inputs.hold(job.id, held)
    stored: Job | None = None
    try:
        stored = await parts.store.put(job, durable=not job.is_anonymous)
    except errors.StorageFull:
        # The disk has not confirmed it, and it may run all the same.
        stored = await parts.store.get(job.id)
        raise
    finally:
        # Another request with this id may have been faster: its job needs what is kept.
        if stored is None or stored.id != job.id or stored.state.is_terminal:
            parts.vault.forget(job.id)
            parts.inputs.release(job.id)
    return stored


async def _deserted(parts: Parts, job: Job, putting: asyncio.Task[Job]) -> None:
    """End an anonymous job whose client left while it was being stored; any other goes on."""
    with contextlib.suppress(errors.Unavailable, errors.QueueFull):
        await putting
        if job.is_anonymous and parts.settings.cancel_on_disconnect:
            await parts.store.cancel(job.id, errors.ClientGone().to_dict())


def _check_options(request: PromptRequest) -> None:
    if request.convert_output is not None:
        try:
            options.parse(request.convert_output.format, request.convert_output.options)
        except ValidationError as failure:
            raise invalid_request(failure, "convert_output.options.") from None


def _check_webhooks(parts: Parts, request: PromptRequest) -> None:
    for name in ("webhook_v2", "webhook"):
        url = getattr(request, name)
        if url is None:
            continue
        try:
            parts.check_url(url, name)
        except errors.InvalidInput as failure:
            raise errors.InvalidRequest(
                f"{name}: it is not a URL that can be called.", hint=failure.hint, location=name
            ) from None
        except errors.InputNotFetched as failure:
            raise errors.InvalidRequest(
                f"{name}: its host is not on the public internet, and webhooks may not leave it.",
                hint=failure.hint,
                location=name,
            ) from None


def _check_destination(parts: Parts, asked: Asked) -> tuple[dict[str, Any], list[Credential]]:
    """Return the request's fields, and the credentials that stood in them.

    Raises DestinationNotConfigured, InvalidRequest.
    """
    fields, own = destinations.without_user(_echo(asked))
    destination = parts.uploads.destination(fields)
    if destination is not None:
        parts.uploads.check(destination, [*asked.request.credentials, *own])
    return fields, own


def _echo(asked: Asked) -> dict[str, Any]:
    fields = PromptRequest.model_fields
    return {key: value for key, value in asked.body.items() if key in fields}


async def _check_room(parts: Parts, owner: str | None) -> None:
    """Refuse before anything is done for the request; `put` looks once more."""
    standing = parts.health.standing()
    if not standing.accepts:
        kind = errors.Draining if standing.reason == "draining" else errors.NotReady
        raise kind(standing.detail, retry_after=standing.retry_after, reason=standing.reason)
    await parts.store.check_room(owner)


async def _wait(
    parts: Parts,
    job: Job,
    over: asyncio.Future[Job],
    asked: Asked,
    *,
    look_again: bool = False,
) -> Job:
    """Return the job once it is over; `look_again` when it was found before `over` was there."""
    if job.state.is_terminal:
        return job
    try:
        if look_again and not over.done():
            # Its end may have come between the first look and our registration.
            found = await parts.store.get(job.id)
            if found is None:
                return await _last_word(job, over)
            if found.state.is_terminal:
                return found
        return await over
    except errors.Draining as draining:
        if asked.is_anonymous:
            parts.background.spawn(parts.store.cancel(job.id, draining.to_dict()))
        raise
    except asyncio.CancelledError:
        if asked.is_anonymous and parts.settings.cancel_on_disconnect:
            # Our own task is being cancelled: the cancel goes on in one of its own.
            gone = errors.ClientGone().to_dict()
            parts.background.spawn(parts.store.cancel(job.id, gone))
        raise


async def _last_word(job: Job, over: asyncio.Future[Job]) -> Job:
    """Return the end of a job whose record is gone; raises JobNotFound when it was told before."""
    try:
        async with asyncio.timeout(_LAST_WORD_S):
            return await over
    except TimeoutError:
        raise errors.JobNotFound(
            f"The job {job.id} was deleted before this request was answered."
        ) from None


async def _sent(request: web.Request, response: web.Response) -> web.Response:
    await response.prepare(request)
    await response.write_eof()
    return response


def _accepted(job: Job, is_preferred: bool) -> web.Response:
    headers = {"Location": f"/jobs/{job.id}"}
    if is_preferred:
        headers["Preference-Applied"] = "respond-async"
    body = {**job.request, "id": job.id, "prompt": job.graph, "status": "ok"}
    if job.warnings:
        body["warnings"] = job.warnings
    return json_response(body, 202, headers)


async def _answer(request: web.Request, job: Job) -> web.StreamResponse:
    if job.state is not State.SUCCEEDED:
        return failed(job)
    return await pictures.respond(request, job)


def failed(job: Job) -> web.Response:
    """Return the error answer of a job that did not succeed."""
    error = job.error or errors.InternalError().to_dict()
    body = answer.failure(error) | {"id": job.id}
    if "metadata" in job.request:
        body["metadata"] = job.request["metadata"]
    return json_response(body, error.get("status", 500))
