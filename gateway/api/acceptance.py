"""A request becomes a job: checked, prepared, stored, or joined with the one that is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from gateway import errors, graph
from gateway.api import admission, wishes
from gateway.api.asked import Asked, Drawn
from gateway.api.parts import Parts
from gateway.jobs.job import Job
from gateway.jobs.vault import Secrets
from gateway.media import destinations, options
from gateway.schemas import Credential, JobRequest, invalid_request

_NOT_ECHOED = ("id", "credentials", "extra_data")


async def accept_or_join(parts: Parts, asked: Asked, job_id: str, respond_async: bool) -> Job:
    """Return the new job, or the one that has its id or its key already; raises IdTaken.

    Nearly all are new, so most are not asked first: the store knows when it is put.
    """
    if asked.looks_first and (found := await _existing(parts, asked, job_id)) is not None:
        return found
    try:
        return await _accept(parts, asked, job_id, respond_async)
    except errors.GatewayError:
        # A full queue, or a ComfyUI that is down, keeps nobody from joining.
        existing = await _existing(parts, asked, job_id)
        if existing is None:
            raise
        return existing


async def is_made(parts: Parts, asked: Asked) -> bool:
    """Whether there is a job that this request joins; raises IdTaken."""
    return await _existing(parts, asked, asked.request.id or "") is not None


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
    prepared = await _prepare(parts, asked, job_id)
    drawn, admitted = prepared.drawn, prepared.admitted
    credentials = [*asked.request.credentials, *admitted.credentials, *prepared.own]
    secrets = Secrets(credentials, asked.request.extra_data)
    timeout = asked.request.timeout
    held = {*admitted.made, *parts.inputs.named_in(admitted.workflow)}
    job = Job(
        id=job_id,
        request={
            **{key: value for key, value in prepared.fields.items() if key not in _NOT_ECHOED},
            **drawn.echo(admitted.workflow),
        },
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
        warnings=[*asked.warnings, *drawn.warnings],
    )
    putting = asyncio.create_task(_put(parts, job, secrets, held))
    try:
        stored = await asyncio.shield(putting)
    except asyncio.CancelledError:
        parts.background.spawn(_deserted(parts, job, putting))
        raise
    _check_same(stored, asked)
    return stored


@dataclass(frozen=True)
class _Prepared:
    """A request that may become a job."""

    drawn: Drawn
    admitted: admission.Admitted
    #: The request's fields, and the credentials that stood in them.
    fields: dict[str, Any]
    own: list[Credential]


async def _prepare(parts: Parts, asked: Asked, job_id: str) -> _Prepared:
    """Check all that a request says."""
    _check_options(asked.request)
    _check_webhooks(parts, asked.request)
    fields, own = _check_destination(parts, asked)
    drawn = await asked.draw(parts)
    with _told_of_the_request(asked, drawn):
        graph.check_prefixes(drawn.workflow, job_id)
        admitted = await admission.admit(parts, drawn.workflow)
    return _Prepared(drawn, admitted, fields, own)


async def rehearse(parts: Parts, asked: Asked) -> dict[str, Any]:
    """Return the graph that would run, and what makes it differ from its file; runs nothing."""
    _check_standing(parts)
    prepared = await _prepare(parts, asked, asked.request.id or "")
    drawn, admitted = prepared.drawn, prepared.admitted
    return {
        **drawn.echo(admitted.workflow),
        "prompt": admitted.workflow,
        "changes": drawn.changes,
        "warnings": [*asked.warnings, *drawn.warnings],
    }


@contextlib.contextmanager
def _told_of_the_request(asked: Asked, drawn: Drawn) -> Iterator[None]:
    """Have an error name the place in the request, and bring the warnings of its graph."""
    try:
        yield
    except errors.GatewayError as failure:
        failure.location = drawn.places.get(failure.location or "", failure.location)
        if warnings := [*asked.warnings, *drawn.warnings]:
            # What is missing in a graph may be what its conversion warned of.
            failure.details["warnings"] = warnings
        raise


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


def _check_options(request: JobRequest) -> None:
    if request.convert_output is not None:
        try:
            options.parse(request.convert_output.format, request.convert_output.options)
        except ValidationError as failure:
            raise invalid_request(failure, "convert_output.options.") from None


def _check_webhooks(parts: Parts, request: JobRequest) -> None:
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
    fields, found = wishes.without_users(fields)
    destination = parts.uploads.destination(fields)
    if destination is not None:
        parts.uploads.check(destination, [*asked.request.credentials, *own])
    return fields, [*own, *found]


def _echo(asked: Asked) -> dict[str, Any]:
    fields = JobRequest.model_fields
    return {key: value for key, value in asked.body.items() if key in fields}


async def _check_room(parts: Parts, owner: str | None) -> None:
    """Refuse before anything is done for the request; `put` looks once more."""
    _check_standing(parts)
    await parts.store.check_room(owner)


def _check_standing(parts: Parts) -> None:
    standing = parts.health.standing()
    if not standing.accepts:
        kind = errors.Draining if standing.reason == "draining" else errors.NotReady
        raise kind(standing.detail, retry_after=standing.retry_after, reason=standing.reason)
