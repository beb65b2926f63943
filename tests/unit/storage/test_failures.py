"""Foreign failures: each has a meaning, a culprit and a sentence."""

from __future__ import annotations

import errno
import inspect
import socket
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import client_exceptions

from gateway import errors
from gateway.storage import failures
from gateway.storage.guard import HINT, AddressRefused


def test_every_exception_of_the_client_is_mapped() -> None:
    foreign = {
        kind
        for _, kind in inspect.getmembers(client_exceptions, inspect.isclass)
        if issubclass(kind, aiohttp.ClientError)
    }

    assert foreign <= failures.FOREIGN.keys()


@pytest.mark.parametrize(
    "verdict", list(dict.fromkeys(failures.FOREIGN.values())), ids=lambda v: v.reason[:30]
)
def test_every_verdict_makes_a_sentence(verdict: failures.Verdict) -> None:
    told = failures.TransferFailed(verdict).told("http://host/x", "prompt.1.inputs.image")

    assert told.status == 400
    assert told.message.startswith(f"http://host/x could not be fetched: {verdict.reason}. The ")
    assert told.location == "prompt.1.inputs.image"
    assert told.details["fault"] in ("host", "url", "network")


def connector_error(inner: OSError) -> aiohttp.ClientConnectorDNSError:
    key = SimpleNamespace(host="h", port=80, ssl=True, is_ssl=False)
    return aiohttp.ClientConnectorDNSError(key, inner)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failure", "fault", "retryable"),
    [
        (connector_error(AddressRefused("x")), "url", False),
        (connector_error(socket.gaierror(socket.EAI_NONAME, "x")), "url", False),
        (connector_error(socket.gaierror(socket.EAI_AGAIN, "x")), "network", True),
        (aiohttp.ServerDisconnectedError(), "host", True),
        (aiohttp.SocketTimeoutError(), "host", True),
        (aiohttp.ClientPayloadError(), "host", True),
        (aiohttp.InvalidUrlClientError("x"), "url", False),
        (TimeoutError(), "host", True),
        (ConnectionResetError(), "host", True),
    ],
)
def test_what_a_failure_means(failure: Exception, fault: str, retryable: bool) -> None:
    verdict = failures.translated(failure).verdict

    assert (verdict.fault, verdict.retryable) == (fault, retryable)


def test_a_refused_address_says_what_to_change() -> None:
    told = failures.translated(AddressRefused("10.0.0.1 is private")).told("http://h/x", None)

    assert told.hint == HINT
    assert "ALLOW_PRIVATE_NETWORKS" in HINT
    assert "10.0.0.1" not in told.message


@pytest.mark.parametrize(
    ("status", "fault", "retryable"),
    [
        (204, "url", False),
        (400, "url", False),
        (401, "url", False),
        (403, "url", False),
        (404, "url", False),
        (408, "host", True),
        (429, "host", True),
        (500, "host", True),
        (503, "host", True),
    ],
)
def test_what_a_status_means(status: int, fault: str, retryable: bool) -> None:
    verdict = failures.refusal_of_status(status, None)

    assert (verdict.fault, verdict.retryable) == (fault, retryable)
    assert str(status) in verdict.reason


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_where_credentials_go_however_the_url_came(status: int) -> None:
    hint = failures.refusal_of_status(status, None).hint or ""

    for way in ("url_pattern in a prompt", "`auth` in POST /download", "GATEWAY_MODEL_TOKEN"):
        assert way in hint


def test_a_full_disk_names_the_folder() -> None:
    full = failures.disk_failure(OSError(errno.ENOSPC, "No space left on device"), "INPUT_DIR")

    assert isinstance(full, errors.StorageFull)
    assert "INPUT_DIR" in full.message
    assert failures.disk_failure(OSError(errno.EACCES, "no"), "INPUT_DIR") is None
