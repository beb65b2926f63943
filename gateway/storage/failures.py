"""Why a fetch failed, whose fault that is, and whether to try again."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Literal

import aiohttp
from aiohttp import client_exceptions as foreign
from aiohttp.http_exceptions import ContentEncodingError

from gateway import errors
from gateway.storage import guard

Fault = Literal["host", "url", "network"]

_WHOSE = {
    "host": "The fault lies with the URL's host.",
    "url": "The fault lies with the URL.",
    "network": "The fault lies with the gateway's network.",
}
#: Below 500, the statuses that may be another one next time.
_PASSING = (408, 425, 429)
#: How a caller gives credentials, by the way it came here; and how, when they are a token.
GIVEN = "`credentials` with a matching url_pattern in a prompt, `auth` in POST /download"
GIVEN_TOKEN = f"{GIVEN}, GATEWAY_MODEL_TOKEN for `gateway models pull`"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Verdict:
    """What a failure means; `reason` continues the sentence "... could not be fetched:"."""

    reason: str
    fault: Fault
    retryable: bool = False
    hint: str | None = None
    #: Whether nothing came for as long as the timeout: each such try costs the caller that long.
    is_silence: bool = False
    #: Whether the source knows the file, or may know it, and refuses access to it.
    is_refused: bool = False
    #: Seconds the host asked us to wait.
    retry_after: float | None = None


class TransferFailed(Exception):
    """A fetch that did not succeed; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict

    def told(
        self,
        url: str,
        location: str | None,
        kind: type[errors.GatewayError] = errors.InputNotFetched,
    ) -> errors.GatewayError:
        """Return it as the caller is told; `url` is fit to be shown."""
        verdict = self.verdict
        return kind(
            f"{url} could not be fetched: {verdict.reason}. {_WHOSE[verdict.fault]}",
            hint=verdict.hint,
            location=location,
            url=url,
            reason=verdict.reason,
            fault=verdict.fault,
        )


class ClaimLost(Exception):
    """Another process has taken over what this one was fetching."""


class TooLarge(Exception):
    """A body is larger than its limit; `size` in bytes where the host told it."""

    def __init__(self, size: int | None) -> None:
        super().__init__(size)
        self.size = size


#: The bytes at hand and those on offer do not go together: begin again.
MISMATCH = Verdict("its host answered a request for one part with another", "host", True)
#: Access was given before, and is refused to the rest of the same file.
EXPIRED = Verdict(
    "the host gave a part of it and refuses the rest; the link may have expired",
    "url",
    hint="Send the request again with a fresh link.",
    is_refused=True,
)

#: The host hung up.
CUT = Verdict("the connection broke off before the whole file had arrived", "host", True)
_UNREACHABLE = Verdict("no connection to the host could be made", "host", True)
_TLS = Verdict("the host's TLS certificate or handshake is not valid", "host")
_NO_HTTP = Verdict("the host's answer is not valid HTTP", "host")
_GARBLED = Verdict(
    "its body is not what its Content-Encoding says, and cannot be decompressed",
    "host",
    hint="Ask its host for the file as it is, without a Content-Encoding.",
)
_NO_URL = Verdict("it is not a valid http or https URL", "url", False, "Check how it is written.")
_REDIRECT = Verdict("the host redirects to something that is not an http or https URL", "host")
_UNSENT = Verdict("the request could not be sent", "network", True)
_SILENT = Verdict(
    "the host did not answer, or stopped sending, for too long", "host", True, is_silence=True
)
_PROXY = Verdict("the proxy of the gateway's network refused or failed", "network", True)
_OUTSIDE = "not on the public internet, and fetches may not leave it"
PRIVATE = Verdict(f"its host is {_OUTSIDE}", "url", False, guard.HINT)
PRIVATE_REDIRECT = replace(PRIVATE, reason=f"it redirects to a host that is {_OUTSIDE}")
_NO_NAME = Verdict("its host name does not resolve", "url", False, "Check the host's spelling.")
_DNS_DOWN = Verdict("its host name could not be looked up just now", "network", True)

#: Every exception of aiohttp's client; a test proves it complete.
FOREIGN: dict[type[BaseException], Verdict] = {
    foreign.ClientError: CUT,
    foreign.ClientResponseError: _NO_HTTP,
    foreign.ContentTypeError: _NO_HTTP,
    foreign.WSServerHandshakeError: _NO_HTTP,
    foreign.ClientHttpProxyError: _PROXY,
    foreign.TooManyRedirects: _REDIRECT,
    foreign.ClientConnectionError: CUT,
    foreign.ClientConnectionResetError: CUT,
    foreign.ClientOSError: CUT,
    foreign.ClientConnectorError: _UNREACHABLE,
    foreign.ClientConnectorDNSError: _NO_NAME,
    foreign.ClientProxyConnectionError: _PROXY,
    foreign.UnixClientConnectorError: _UNREACHABLE,
    foreign.ServerConnectionError: CUT,
    foreign.ServerDisconnectedError: CUT,
    foreign.ServerTimeoutError: _SILENT,
    foreign.ConnectionTimeoutError: _SILENT,
    foreign.SocketTimeoutError: _SILENT,
    foreign.ServerFingerprintMismatch: _TLS,
    foreign.ClientPayloadError: CUT,
    foreign.UploadAbortedError: _UNSENT,
    foreign.InvalidURL: _NO_URL,
    foreign.InvalidUrlClientError: _NO_URL,
    foreign.RedirectClientError: _REDIRECT,
    foreign.NonHttpUrlClientError: _NO_URL,
    foreign.InvalidUrlRedirectClientError: _REDIRECT,
    foreign.NonHttpUrlRedirectClientError: _REDIRECT,
    foreign.ClientSSLError: _TLS,
    foreign.ClientConnectorSSLError: _TLS,
    foreign.ClientConnectorCertificateError: _TLS,
    guard.AddressRefused: PRIVATE,
    socket.gaierror: _NO_NAME,
    ssl.SSLError: _TLS,
    TimeoutError: _SILENT,
    ConnectionError: CUT,
}
CAUGHT = tuple(FOREIGN)


def translated(failure: BaseException) -> TransferFailed:
    """Return what a foreign failure means to us; it is one of CAUGHT."""
    cause = _root(failure)
    if isinstance(cause.__cause__, ContentEncodingError):
        # aiohttp tells it as any other end of a body that came too early.
        return TransferFailed(_GARBLED)
    verdict = next(FOREIGN[kind] for kind in type(cause).__mro__ if kind in FOREIGN)
    if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
        verdict = _DNS_DOWN
    if isinstance(cause, foreign.ClientSSLError | ssl.SSLError):
        verdict = replace(verdict, reason=f"{verdict.reason} ({_tls_reason(cause)})")
    return TransferFailed(verdict)


def _root(failure: BaseException) -> BaseException:
    """Return what the connector wrapped, where that says more."""
    inner = failure.os_error if isinstance(failure, aiohttp.ClientConnectorError) else None
    told = isinstance(inner, guard.AddressRefused | socket.gaierror)
    return inner if told and inner is not None else failure


def _tls_reason(failure: BaseException) -> str:
    inner = getattr(failure, "certificate_error", None) or getattr(failure, "os_error", failure)
    return str(getattr(inner, "verify_message", None) or getattr(inner, "reason", None) or inner)


def refusal_of_status(status: int, retry_after: float | None) -> Verdict:
    """Return what an HTTP status that carries no file means."""
    if status in (401, 403):
        hint = f"Give credentials that the host accepts ({GIVEN_TOKEN}), or a URL that needs none."
        return Verdict(
            f"the host answered {status}: it refuses access", "url", hint=hint, is_refused=True
        )
    if status in (404, 410):
        return Verdict(f"the host answered {status}: there is no such file", "url")
    if status in _PASSING or status >= 500:
        many = ": too many requests" if status == 429 else ""
        return Verdict(f"the host answered {status}{many}", "host", True, retry_after=retry_after)
    return Verdict(f"the host answered {status}, which carries no file", "url")


def refusal_of_upload(status: int, retry_after: float | None) -> Verdict:
    """Return what an HTTP status means that is no success of an upload."""
    if status in (401, 403):
        hint = "Give credentials that may write there, or a URL that needs none."
        return Verdict(
            f"the host answered {status}: it refuses the upload", "url", hint=hint, is_refused=True
        )
    if status in _PASSING or status >= 500:
        return Verdict(f"the host answered {status}", "host", True, retry_after=retry_after)
    return Verdict(f"the host answered {status}: it takes no upload at this URL", "url")


def disk_failure(failure: OSError, folder: str) -> errors.GatewayError | None:
    """Return what a full disk means to the caller; None for any other failure.

    `folder` is the setting that names it: where it lies on this machine is nobody's business.
    """
    if failure.errno not in _DISK_FULL:
        return None
    return errors.StorageFull(
        f"The disk is full: {folder} has no room left.",
        hint="Free some space there, then send the request again.",
        folder=folder,
    )
