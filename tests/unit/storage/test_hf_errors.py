"""Every failure of huggingface_hub has a meaning."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest
from huggingface_hub import errors as hub

from gateway.storage import hf_errors

CLIENT = importlib.import_module(hub.HTTPError.__module__.partition(".")[0])
#: What only calls raise that the gateway never makes: buckets, jobs, inference, the local cache.
ELSEWHERE = {
    "BucketBatchError",
    "BucketNotFoundError",
    "JobNotFoundError",
    "InferenceTimeoutError",
    "TextGenerationError",
    "ValidationError",
    "GenerationError",
    "OverloadedError",
    "IncompleteGenerationError",
    "UnknownError",
    "DryRunError",
    "IncompleteSnapshotError",
    "LocalEntryNotFoundError",
    "HfUriError",
    "InferenceEndpointTimeoutError",
    "SSEError",
}


def kinds(module: ModuleType, *roots: type) -> list[type]:
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, roots) and kind.__name__ not in ELSEWHERE
    ]


@pytest.mark.parametrize(
    "kind",
    [
        *kinds(hub, hub.HTTPError, hub.EntryNotFoundError, OSError, ValueError),
        *kinds(CLIENT, CLIENT.HTTPError, CLIENT.InvalidURL),
    ],
)
def test_every_failure_has_a_verdict_of_its_own(kind: type) -> None:
    assert kind in hf_errors.verdicts()


def answered(status: int, kind: type[hub.HfHubHTTPError] = hub.HfHubHTTPError) -> Exception:
    request = CLIENT.Request("GET", "https://huggingface.co/org/repo?token=planted")
    response = CLIENT.Response(status, headers={"Retry-After": "7"}, request=request)
    return kind("planted", response=response)


@pytest.mark.parametrize(
    ("status", "reason", "is_retryable"),
    [
        (401, "Hugging Face answered 401: it refuses access", False),
        (403, "Hugging Face answered 403: it refuses access", False),
        (409, "its repository was changed at the same moment", True),
        (412, "its repository was changed at the same moment", True),
        (429, "the host answered 429: too many requests", True),
        (503, "the host answered 503", True),
        (418, "the host answered 418, which carries no file", False),
    ],
)
def test_a_status_decides_where_nothing_else_does(
    status: int, reason: str, is_retryable: bool
) -> None:
    verdict = hf_errors.translated(answered(status)).verdict
    assert (verdict.reason, verdict.retryable) == (reason, is_retryable)
    assert "planted" not in str(verdict)
    if status in (429, 503):
        assert verdict.retry_after == 7


def test_what_an_upload_wraps_is_found() -> None:
    wrapped = RuntimeError("Error while uploading 'x' to the Hub.")
    wrapped.__cause__ = answered(404, hub.RevisionNotFoundError)
    verdict = hf_errors.translated(wrapped).verdict
    assert verdict.reason == "its repository has no such revision"


def test_of_several_kinds_the_nearest_counts() -> None:
    gated = hf_errors.translated(answered(403, hub.GatedRepoError)).verdict
    assert "Accept the licence" in (gated.hint or "")


@pytest.mark.parametrize(
    ("kind", "is_refused"),
    [
        (hub.GatedRepoError, True),
        (hub.RepositoryNotFoundError, True),
        (hub.HfHubHTTPError, True),
        (hub.RevisionNotFoundError, False),
        (hub.RemoteEntryNotFoundError, False),
    ],
)
def test_a_refusal_is_told_from_a_file_that_is_not_there(
    kind: type[hub.HfHubHTTPError], is_refused: bool
) -> None:
    assert hf_errors.translated(answered(401, kind)).verdict.is_refused is is_refused
