"""Failures of the object stores, and what they mean."""

from __future__ import annotations

import inspect

import pytest
from obstore import exceptions

from gateway.storage import objectstore_failures
from gateway.storage.failures import MISMATCH, TransferFailed
from gateway.storage.objectstore_failures import FOREIGN, Words, translating, verdict_of

WORDS = Words("S3", "bucket", "Give credentials.", "Name the region.")
SECRET = "planted-secret"
STATUS = "Error performing GET http://host/x in 1ms - Server returned non-2xx status code: {}"
HTTP = "Error performing GET http://host/x - HTTP error: error sending\n\nHttpError {{\n kind: {},"


def test_every_exception_of_the_library_has_its_verdict() -> None:
    names = {name for name, kind in vars(exceptions).items() if inspect.isclass(kind)}

    assert names <= FOREIGN.keys()
    assert FOREIGN.keys() - names <= {"FileNotFoundError", "ValueError", "NotFoundError"}


@pytest.mark.parametrize(
    ("text", "told", "fault", "retryable"),
    [
        (STATUS.format("404 <Code>NoSuchBucket</Code>"), "no such bucket", "url", False),
        (STATUS.format("404 Not Found"), "no such file", "url", False),
        (STATUS.format("401 Unauthorized"), "does not accept", "url", False),
        (STATUS.format("403 <Code>ExpiredToken</Code>"), "expired", "url", False),
        (STATUS.format("403 <Code>RequestTimeTooSkewed</Code>"), "clock", "network", False),
        (STATUS.format("301 <Code>PermanentRedirect</Code>"), "another region", "url", False),
        (STATUS.format("429 Too Many Requests"), "too busy", "host", True),
        (STATUS.format("500 Internal Server Error"), "S3 failed", "host", True),
        (STATUS.format("418 Teapot"), "could not be understood", "host", False),
        (HTTP.format("Timeout"), "too long", "host", True),
        (HTTP.format("Interrupted"), "broke off", "host", True),
        (HTTP.format("Connect"), "no connection", "host", True),
        (HTTP.format("Connect") + ' "dns error"', "does not resolve", "host", True),
        (HTTP.format("Connect") + " InvalidCertificate(Expired)", "TLS", "host", False),
        ("anything else", "could not be understood", "host", False),
    ],
)
def test_a_text_is_understood(text: str, told: str, fault: str, retryable: bool) -> None:
    verdict = verdict_of(exceptions.GenericError(f"{text} {SECRET}"), WORDS)

    assert told in verdict.reason
    assert (verdict.fault, verdict.retryable) == (fault, retryable)
    assert SECRET not in f"{verdict}"


@pytest.mark.parametrize(
    "failure",
    [
        exceptions.PreconditionError("412"),
        exceptions.GenericError("source: NotPartial,"),
        exceptions.GenericError("source: UnexpectedRange {"),
        exceptions.GenericError(STATUS.format("416 <Code>InvalidRange</Code>")),
    ],
)
def test_what_does_not_fit_what_is_here_is_a_mismatch(failure: Exception) -> None:
    assert verdict_of(failure, WORDS) == MISMATCH


def test_the_region_is_told_where_the_storage_tells_it() -> None:
    text = "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>"
    verdict = verdict_of(exceptions.GenericError(text), WORDS)

    assert verdict.hint == "Name the region. It is eu-west-1."


def test_a_region_that_is_none_is_not_repeated() -> None:
    text = f"<Code>PermanentRedirect</Code><Region>{SECRET} <b></Region>"

    assert verdict_of(exceptions.GenericError(text), WORDS).hint == "Name the region."


def test_the_library_s_text_goes_nowhere() -> None:
    with pytest.raises(TransferFailed) as found, translating(WORDS):
        raise exceptions.PermissionDeniedError(SECRET)

    assert found.value.__suppress_context__
    assert SECRET not in str(found.value)


def test_other_failures_pass() -> None:
    with pytest.raises(OSError, match="disk"), translating(WORDS):
        raise OSError("disk")


@pytest.mark.parametrize("verdict", {*objectstore_failures._BY_CODE.values(), *FOREIGN.values()})
def test_every_sentence_can_be_filled(verdict: objectstore_failures.Verdict) -> None:
    told = f"{verdict.reason} {verdict.hint}".format_map(vars(WORDS))

    assert "{" not in told
