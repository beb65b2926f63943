"""What the failures of S3, Google Cloud Storage and Azure Blob mean, in the gateway's words.

The library's texts quote URLs and the bodies of answers, so that none of them is passed on: only
codes, statuses and kinds that this table knows are read from them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.storage.failures import MISMATCH, TransferFailed, Verdict


@dataclass(frozen=True)
class Words:
    """How one storage calls things, in the sentences of this module."""

    service: str
    container: str
    #: What to change when credentials are missing or refused.
    credentials: str
    #: What to change when the bucket lies elsewhere.
    region: str = "Check the address of the storage."
    #: What the name of a bucket is made of.
    naming: str = "letters and digits"


_NO_OBJECT = Verdict("there is no such file in the {container}", "url", hint="Check the URL's key.")
_NO_CONTAINER = Verdict(
    "there is no such {container}", "url", hint="Check the {container}'s name in the URL."
)
_BAD_CONTAINER = Verdict("the {container}'s name is not valid", "url", hint="Check the URL.")
_DENIED = Verdict(
    "{service} refuses access with these credentials, or without any",
    "url",
    hint="{credentials}",
    is_refused=True,
)
_WRONG = Verdict(
    "{service} does not accept the credentials", "url", hint="{credentials}", is_refused=True
)
_OLD = Verdict("the credentials have expired", "url", hint="{credentials}", is_refused=True)
_NONE_GIVEN = Verdict(
    "{service} asks for credentials, and there are none",
    "url",
    hint="{credentials}",
    is_refused=True,
)
_CLOCK = Verdict("the gateway's clock is wrong: {service} refuses its signatures", "network")
_ELSEWHERE = Verdict("the {container} lies in another region", "url", hint="{region}")
_COLD = Verdict(
    "the file is archived, and cannot be read until it is restored",
    "url",
    hint="Restore it to a storage class that can be read at once.",
)
_TOO_LARGE = Verdict("{service} takes no file of this size", "url")
_BUSY = Verdict("{service} is too busy just now", "host", True)
_BROKEN = Verdict("{service} failed", "host", True)
_ODD = Verdict("{service} refused the request, or its answer could not be understood", "host")
_TAKEN = Verdict("another upload to this place is under way", "host", True)
_NO_PATH = Verdict("its key cannot be written to or read from", "url", hint="Check the URL's key.")
_UNFIT = Verdict("{service} cannot do this", "url")
_SETTINGS = Verdict(
    "the gateway's credentials for {service} cannot be used", "network", hint="{credentials}"
)
_NO_NAME = Verdict(
    "the storage's host name does not resolve", "host", True, "Check the storage's address."
)
_UNREACHABLE = Verdict("no connection to the storage could be made", "host", True)
_TLS = Verdict("the storage's TLS certificate or handshake is not valid", "host")
_SILENT = Verdict(
    "the storage did not answer, or stopped sending, for too long", "host", True, is_silence=True
)
_CUT = Verdict("the connection broke off before the whole file had passed", "host", True)

#: Every exception of the library by name; a test proves it complete.
FOREIGN: dict[str, Verdict] = {
    "BaseError": _ODD,
    "GenericError": _ODD,
    "NotFoundError": _NO_OBJECT,
    "FileNotFoundError": _NO_OBJECT,
    "InvalidPathError": _NO_PATH,
    "ValueError": _NO_PATH,
    "JoinError": _BROKEN,
    "NotSupportedError": _UNFIT,
    "AlreadyExistsError": _TAKEN,
    "PreconditionError": MISMATCH,
    "NotModifiedError": MISMATCH,
    "PermissionDeniedError": _DENIED,
    "UnauthenticatedError": _WRONG,
    "UnknownConfigurationKeyError": _SETTINGS,
}

#: What the storages themselves call it; the most telling of all.
_BY_CODE = {
    "NoSuchBucket": _NO_CONTAINER,
    "ContainerNotFound": _NO_CONTAINER,
    "ContainerBeingDeleted": _NO_CONTAINER,
    "InvalidBucketName": _BAD_CONTAINER,
    "InvalidResourceName": _BAD_CONTAINER,
    "NoSuchKey": _NO_OBJECT,
    "BlobNotFound": _NO_OBJECT,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "InsufficientAccountPermissions": _DENIED,
    "PublicAccessNotPermitted": _NONE_GIVEN,
    "NoAuthenticationInformation": _NONE_GIVEN,
    "AuthenticationRequired": _NONE_GIVEN,
    "InvalidAccessKeyId": _WRONG,
    "SignatureDoesNotMatch": _WRONG,
    "InvalidToken": _WRONG,
    "InvalidSecurity": _WRONG,
    "AuthenticationFailed": _WRONG,
    "AuthorizationFailure": _WRONG,
    "InvalidAuthenticationInfo": _WRONG,
    "ExpiredToken": _OLD,
    "TokenRefreshRequired": _OLD,
    "RequestTimeTooSkewed": _CLOCK,
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "InvalidObjectState": _COLD,
    "BlobArchived": _COLD,
    "EntityTooLarge": _TOO_LARGE,
    "RequestBodyTooLarge": _TOO_LARGE,
    "SlowDown": _BUSY,
    "ServerBusy": _BUSY,
    "PreconditionFailed": MISMATCH,
    "ConditionNotMet": MISMATCH,
    "InvalidRange": MISMATCH,
}
_BY_STATUS = {
    301: _ELSEWHERE,
    307: _ELSEWHERE,
    401: _WRONG,
    403: _DENIED,
    404: _NO_OBJECT,
    408: _SILENT,
    412: MISMATCH,
    413: _TOO_LARGE,
    416: MISMATCH,
    429: _BUSY,
    503: _BUSY,
}
#: What the library's HTTP client calls its failures.
_BY_KIND = {
    "Connect": _UNREACHABLE,
    "Timeout": _SILENT,
    "Interrupted": _CUT,
    "Request": _CUT,
    "Decode": _CUT,
}
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3})\b")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_UNASKED = re.compile(r"source: (NotPartial|UnexpectedRange|Inconsistent)\b")
_REGION = re.compile(r"<Region>([a-z]{2,}(?:-[a-z0-9]+)+)</Region>")


def verdict_of(failure: BaseException, words: Words) -> Verdict:
    """Return what a failure of the library means."""
    text = str(failure)
    found = _judged(failure, text)
    if found is MISMATCH:
        return found
    hint = found.hint
    region = _REGION.search(text)
    if found is _ELSEWHERE and region:
        hint = f"{{region}} It is {region[1]}."
    return replace(
        found, reason=_filled(found.reason, words), hint=_filled(hint, words) if hint else None
    )


def _filled(sentence: str, words: Words) -> str:
    return sentence.format_map(vars(words))


def _judged(failure: BaseException, text: str) -> Verdict:
    code = _CODE.search(text)
    if code and code[1] in _BY_CODE:
        return _BY_CODE[code[1]]
    named = next(
        FOREIGN[kind.__name__] for kind in type(failure).__mro__ if kind.__name__ in FOREIGN
    )
    if named is not _ODD:
        return named
    if _UNASKED.search(text):
        return MISMATCH
    status = _STATUS.search(text)
    if status:
        number = int(status[1])
        return _BY_STATUS.get(number, _BROKEN if number >= 500 else _ODD)
    return _of_connection(text)


def _of_connection(text: str) -> Verdict:
    if "dns error" in text:
        return _NO_NAME
    if "InvalidCertificate" in text or "invalid peer certificate" in text:
        return _TLS
    kind = _KIND.search(text)
    return _BY_KIND.get(kind[1], _ODD) if kind else _ODD


def is_foreign(failure: BaseException) -> bool:
    """Whether a failure is one that this module knows."""
    return any(kind.__name__ in FOREIGN for kind in type(failure).__mro__)


@contextlib.contextmanager
def translating(words: Words) -> Iterator[None]:
    """Raise TransferFailed for every failure of the library in the body."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as failure:
        # Not as its cause: the library's text holds what no log may hold.
        raise TransferFailed(verdict_of(failure, words)) from None
