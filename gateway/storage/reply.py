"""What a host's answer says about the file behind it."""

from __future__ import annotations

import email.utils
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from gateway.storage import failures
from gateway.storage.failures import TransferFailed, Verdict

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_LONGEST_PAUSE_S = 60.0
#: A Last-Modified this much older than the answer cannot have changed again within its second.
_SETTLED = timedelta(seconds=60)
#: The bytes at hand and those on offer do not go together: begin again.
MISMATCH = Verdict("its host answered a request for one part with another", "host", True)
_TOO_LONG = Verdict("the body is longer than its Content-Length says", "host")


@dataclass(frozen=True)
class Resume:
    """Where a fetch goes on; `version` is the validator of the bytes at hand."""

    offset: int = 0
    version: str | None = None

    def headers(self) -> dict[str, str]:
        """Return what asks for the rest of the same version, else for the whole."""
        if not self.offset or self.version is None:
            return {}
        return {"Range": f"bytes={self.offset}-", "If-Range": self.version}


@dataclass(frozen=True)
class Reply:
    """An answer whose body begins at `start` of a file of `total` bytes, where that is told."""

    response: aiohttp.ClientResponse
    start: int
    total: int | None
    version: str | None

    @property
    def content_type(self) -> str | None:
        """The type that the host gives."""
        return self.response.headers.get("Content-Type")

    @property
    def filename(self) -> str | None:
        """The name in Content-Disposition."""
        found = self.response.content_disposition
        return found.filename if found else None

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


def understood(response: aiohttp.ClientResponse, resume: Resume) -> Reply:
    """Return what the answer holds; raises TransferFailed when it holds no file."""
    if response.status == 206 and resume.headers():
        return _partial(response, resume)
    if response.status == 416 and resume.headers():
        raise TransferFailed(MISMATCH)
    if response.status != 200:
        raise TransferFailed(failures.refusal_of_status(response.status, _retry_after(response)))
    return Reply(response, 0, _length(response), _version(response))


def _partial(response: aiohttp.ClientResponse, resume: Resume) -> Reply:
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    version = _version(response)
    # Some hosts ignore If-Range: two versions must never be stitched together.
    is_other = version is not None and version != resume.version
    if found is None or int(found[1]) != resume.offset or is_other:
        raise TransferFailed(MISMATCH)
    total = None if found[3] == "*" else int(found[3])
    return Reply(response, resume.offset, total, resume.version)


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


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(float(text), _LONGEST_PAUSE_S)
    at, sent = _date(text), _date(response.headers.get("Date"))
    if at is None or sent is None:
        return None
    return min(max(0.0, (at - sent).total_seconds()), _LONGEST_PAUSE_S)
