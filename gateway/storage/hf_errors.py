"""What the failures of huggingface_hub mean to the caller."""

from __future__ import annotations

import functools
import importlib
from dataclasses import replace

from gateway.storage import failures
from gateway.storage.failures import TransferFailed, Verdict

SIGN_IN = (
    f"Set HF_TOKEN, or give a bearer token ({failures.GIVEN_TOKEN}); tokens are made at "
    "https://huggingface.co/settings/tokens."
)
NOT_A_HUB = Verdict(
    "the answer carries no metadata of a Hugging Face file",
    "host",
    hint="HF_ENDPOINT must name Hugging Face or a mirror of its whole API.",
)
_GATED = Verdict(
    "its repository is gated, and this token has no access to it",
    "url",
    hint="Accept the licence on the repository's page, then give a token of the same account. "
    + SIGN_IN,
    is_refused=True,
)
_UNSIGNED = "its repository is gated, and no token was given"
_NO_REPO = Verdict(
    "there is no such repository, or it is private",
    "url",
    hint=f"Check its name, and whether it is a dataset. If it is private: {SIGN_IN}",
    is_refused=True,
)
_NO_REVISION = Verdict(
    "its repository has no such revision",
    "url",
    hint="Check the branch, tag or commit; a slash in it is written %2F.",
)
_NO_FILE = Verdict(
    "its repository has no such file at this revision", "url", hint="Check the path in the page."
)
_DISABLED = Verdict("Hugging Face has disabled its repository", "url", is_refused=True)
_BAD = Verdict(
    "Hugging Face refused the request as malformed", "url", hint="Check how it is written."
)
_NAME = Verdict("Hugging Face allows no such name", "url", hint="Check the repository's name.")
_STATUS = Verdict("Hugging Face refused it", "host")
_OFFLINE = Verdict(
    "HF_HUB_OFFLINE is set", "network", hint="Unset HF_HUB_OFFLINE in the gateway's environment."
)
_NO_TOKEN = Verdict("it needs a token", "url", hint=SIGN_IN, is_refused=True)
_UNREACHABLE = Verdict("no connection to Hugging Face could be made", "host", True)
SILENT = Verdict("Hugging Face did not answer for too long", "host", True, is_silence=True)
_CUT = Verdict("the connection to Hugging Face broke off", "host", True)
_PROXY = Verdict("the proxy of the gateway's network refused or failed", "network", True)
_NO_HTTP = Verdict("Hugging Face's answer is not valid HTTP", "host")
_UNSENT = Verdict("the request could not be sent", "network")
_GARBLED = Verdict("Hugging Face's answer could not be read", "host", True)
_CONFLICT = Verdict("its repository was changed at the same moment", "host", True)
_REFUSED = Verdict("Hugging Face refuses access", "url", hint=SIGN_IN, is_refused=True)

_OF_THE_HUB = {
    "HfHubHTTPError": _STATUS,
    "BadRequestError": _BAD,
    "DisabledRepoError": _DISABLED,
    "EntryNotFoundError": _NO_FILE,
    "FileMetadataError": NOT_A_HUB,
    "GatedRepoError": _GATED,
    "HFValidationError": _NAME,
    "LocalTokenNotFoundError": _NO_TOKEN,
    "OfflineModeIsEnabled": _OFFLINE,
    "RemoteEntryNotFoundError": _NO_FILE,
    "RepositoryNotFoundError": _NO_REPO,
    "RevisionNotFoundError": _NO_REVISION,
}
#: By name: the client is httpx in some releases and its successor in others.
_OF_ITS_CLIENT = {
    "HTTPError": _CUT,
    "HTTPStatusError": _STATUS,
    "RequestError": _CUT,
    "DecodingError": _GARBLED,
    "TooManyRedirects": _NO_HTTP,
    "TransportError": _CUT,
    "TimeoutException": SILENT,
    "ConnectTimeout": _UNREACHABLE,
    "ReadTimeout": SILENT,
    "WriteTimeout": SILENT,
    "PoolTimeout": SILENT,
    "NetworkError": _CUT,
    "ConnectError": _UNREACHABLE,
    "ReadError": _CUT,
    "WriteError": _CUT,
    "CloseError": _CUT,
    "ProxyError": _PROXY,
    "UnsupportedProtocol": _UNSENT,
    "ProtocolError": _NO_HTTP,
    "LocalProtocolError": _UNSENT,
    "RemoteProtocolError": _NO_HTTP,
    "InvalidURL": _UNSENT,
}


@functools.cache
def verdicts() -> dict[type[BaseException], Verdict]:
    """Return every failure that huggingface_hub lets out; a test proves it complete."""
    from huggingface_hub import errors as hub

    root: type[BaseException] = hub.HTTPError  # type: ignore[attr-defined]
    client = importlib.import_module(root.__module__.partition(".")[0])
    found = {getattr(client, name): verdict for name, verdict in _OF_ITS_CLIENT.items()}
    found |= {getattr(hub, name): verdict for name, verdict in _OF_THE_HUB.items()}
    # What it raises for an answer that it cannot read: JSON and fields that are not there.
    return found | {ValueError: _GARBLED, KeyError: _GARBLED, RuntimeError: _GARBLED}


def translated(failure: BaseException, *, has_token: bool = True) -> TransferFailed:
    """Return what a failure means to us; its kind is one of `verdicts`."""
    verdict = _verdict_of(failure)
    if verdict.is_refused and not has_token and verdict is not _DISABLED:
        reason = _UNSIGNED if verdict is _GATED else f"{verdict.reason}; no token was given"
        verdict = replace(verdict, reason=reason)
    return TransferFailed(verdict)


def _verdict_of(failure: BaseException) -> Verdict:
    known = verdicts()
    cause = failure.__cause__
    if cause is not None and isinstance(failure, RuntimeError) and isinstance(cause, tuple(known)):
        # An upload's own failure comes wrapped.
        return _verdict_of(cause)
    verdict = next(known[kind] for kind in type(failure).__mro__ if kind in known)
    response = getattr(failure, "response", None)
    if verdict is _STATUS and response is not None:
        return _of_status(response.status_code, response.headers.get("Retry-After", ""))
    return verdict


def _of_status(status: int, retry_after: str) -> Verdict:
    if status in (401, 403):
        return replace(_REFUSED, reason=f"Hugging Face answered {status}: it refuses access")
    if status in (409, 412):
        return _CONFLICT
    pause = min(float(retry_after), 60.0) if retry_after.isdecimal() else None
    return failures.refusal_of_status(status, pause)
