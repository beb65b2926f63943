"""What a host's answer says about the file behind it."""

from __future__ import annotations

import email.utils
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from gateway.storage import failures
from gateway.storage.failures import MISMATCH, TransferFailed, Verdict
from gateway.storage.provider import Span, Stat

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_LONGEST_PAUSE_S = 60.0
#: A Last-Modified this much older than the answer cannot have changed again within its second.
_SETTLED = timedelta(seconds=60)
_TOO_LONG = Verdict("the body is longer than its Content-Length says", "host")


def headers_of(span: Span) -> dict[str, str]:
    """Return what asks for a part of one version, else for the whole."""
    if not span.start and span.end is None:
        return {}
    end = "" if span.end is None else span.end - 1
    found = {"Range": f"bytes={span.start}-{end}"}
    return found if span.version is None else {**found, "If-Range": span.version}


@dataclass(frozen=True)
class HttpReply:
    """An answer whose body begins at `start` of a file."""

    response: aiohttp.ClientResponse
    start: int
    stat: Stat

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; raises TransferFailed."""
        connection = self.response.connection
        protocol = connection.protocol if connection else None
        try:
            async for chunk in self.response.content.iter_any():
                yield chunk
        except failures.CAUGHT as failure:
            raise failures.translated(failure) from failure
        last = protocol.exception() if protocol is not None else None
        if isinstance(last, HttpProcessingError):
            # Bytes past the announced end were read as the head of another answer.
            raise TransferFailed(_TOO_LONG)


def understood(response: aiohttp.ClientResponse, span: Span) -> HttpReply:
    """Return what the answer holds; raises TransferFailed when it holds no file."""
    is_partial = bool(headers_of(span))
    if response.status == 206 and is_partial:
        return _partial(response, span)
    if response.status == 416 and is_partial:
        raise TransferFailed(MISMATCH)
    if response.status != 200:
        raise TransferFailed(failures.refusal_of_status(response.status, retry_after(response)))
    return HttpReply(response, 0, stat_of(response))


def _partial(response: aiohttp.ClientResponse, span: Span) -> HttpReply:
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    is_inside = span.end is None or (found is not None and int(found[2]) < span.end)
    if found is None or int(found[1]) != span.start or not is_inside or _is_other(response, span):
        raise TransferFailed(MISMATCH)
    size = None if found[3] == "*" else int(found[3])
    version = span.version or _version(response)
    stat = replace(stat_of(response), size=size, version=version, is_ranged=True)
    return HttpReply(response, span.start, stat)


def _is_other(response: aiohttp.ClientResponse, span: Span) -> bool:
    # Some hosts ignore If-Range: two versions must never be stitched together.
    if span.version is None:
        return False
    validator = "ETag" if span.version.startswith('"') else "Last-Modified"
    return response.headers.get(validator, span.version) != span.version


def stat_of(response: aiohttp.ClientResponse) -> Stat:
    """Return what the head of a 200 says of the file."""
    disposition = response.content_disposition
    return Stat(
        size=_length(response),
        version=_version(response),
        content_type=response.headers.get("Content-Type"),
        filename=disposition.filename if disposition else None,
        is_ranged=_is_ranged(response),
    )


def _is_ranged(response: aiohttp.ClientResponse) -> bool:
    if _length(response) is None:
        return False
    # Many hosts answer parts without announcing it; the first one asked for tells.
    return response.headers.get("Accept-Ranges", "bytes").lower() == "bytes"


def _length(response: aiohttp.ClientResponse) -> int | None:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    # Of a body that is compressed although we asked for none, the length is another's.
    return response.content_length if encoding == "identity" else None


def _version(response: aiohttp.ClientResponse) -> str | None:
    headers = response.headers
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return None
    tag = headers.get("ETag")
    if tag is not None:
        return None if tag.startswith("W/") else tag
    modified, sent = _date(headers.get("Last-Modified")), _date(headers.get("Date"))
    if modified is None or sent is None or sent - modified < _SETTLED:
        return None
    return headers["Last-Modified"]


def _date(text: str | None) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(text) if text else None
    except ValueError:
        return None


def retry_after(response: aiohttp.ClientResponse, most: float = _LONGEST_PAUSE_S) -> float | None:
    """Return the seconds that the host asks us to wait, at most so many."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return min(float(text), most)
    at, sent = _date(text), _date(response.headers.get("Date"))
    if at is None or sent is None:
        return None
    return min(max(0.0, (at - sent).total_seconds()), most)
