"""`gateway webhooks`: what it shows, and what it takes for genuine."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import webhooks
from gateway.cli.failure import CommandFailed
from gateway.webhooks.signature import Signer

KEY = b"a key that both sides know"
SECRET = base64.b64encode(KEY).decode()
BODY = '{"type":"prompt.complete","é":1}'.encode()


def heard(age: float = 0, **more: str | None) -> webhooks.Heard:
    headers: dict[str, Any] = Signer(KEY).headers("mine", time.time() - age, BODY)
    headers |= {f"webhook-{name}": value for name, value in more.items()}
    return webhooks.Heard(headers, BODY)


@pytest.mark.parametrize(
    "secret", [SECRET, f"whsec_{SECRET}", SECRET.rstrip("="), f" whsec_{SECRET.rstrip('=')}\n"]
)
def test_what_was_signed_is_genuine(secret: str) -> None:
    assert webhooks.problem(heard(), secret, 300) is None


def test_one_of_several_signatures_is_enough() -> None:
    rotated = heard()
    both = f"v1,{base64.b64encode(b'other').decode()} v2,é {rotated.headers['webhook-signature']}"
    assert webhooks.problem(heard(signature=both), SECRET, 300) is None


@pytest.mark.parametrize(
    ("call", "tolerance", "reason"),
    [
        (lambda: heard(id="other"), 300, "another's"),
        (lambda: heard(timestamp="99"), 0, "another's"),
        (lambda: heard(timestamp="9" * 30), 0, "another's"),
        (lambda: heard(signature="v1,AAAA"), 300, "another's"),
        (lambda: heard(signature="v1"), 300, "another's"),
        (lambda: webhooks.Heard(heard().headers, BODY + b" "), 300, "another's"),
        (lambda: webhooks.Heard(heard().headers, b"\xff"), 300, "another's"),
        (lambda: heard(400), 300, "too old"),
        (lambda: heard(-400), 300, "too new"),
        (lambda: heard(400), 500, None),
        (lambda: heard(1e8), 0, None),
        (lambda: heard(timestamp="9" * 5000), 0, "webhook-timestamp is not a number"),
        (lambda: heard(timestamp="soon"), 300, "webhook-timestamp is not a number"),
        (lambda: heard(signature=None), 300, "webhook-signature: missing"),
        (
            lambda: webhooks.Heard({}, BODY),
            300,
            "webhook-id and webhook-timestamp",
        ),
    ],
)
def test_what_is_wrong_is_said(
    call: Callable[[], webhooks.Heard], tolerance: float, reason: str | None
) -> None:
    # Made now: a call that was heard when the tests were collected is old by the time they run.
    found = webhooks.problem(call(), SECRET, tolerance)
    if reason is None:
        assert found is None
    else:
        assert found is not None
        assert reason in found


@pytest.mark.parametrize("secret", ["not base64!", "whsec_", "="])
def test_a_secret_that_is_none_is_not_quoted(secret: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        webhooks.problem(heard(), secret, 300)
    assert secret not in failed.value.message


def test_headers_come_from_a_file_and_from_options(tmp_path: Path) -> None:
    file = tmp_path / "headers.txt"
    file.write_text("POST / HTTP/1.1\r\nWebhook-Id: a: b\r\nHost: x\r\nwebhook-timestamp:5\r\n\r\n")
    (tmp_path / "body").write_bytes(BODY)
    given = {"webhook-id": None, "webhook-timestamp": "7"}

    found = webhooks.Heard.read(str(tmp_path / "body"), file, given)

    assert found.body == BODY
    assert (found.headers["webhook-id"], found.headers["webhook-timestamp"]) == ("a: b", "7")
    with pytest.raises(CommandFailed, match="No such file"):
        webhooks.Heard.read(str(tmp_path / "none"), None, {})


def test_a_row_says_what_came_of_it() -> None:
    delivery = {
        "id": "d",
        "state": "pending",
        "job_id": "j",
        "kind": "webhook",
        "url": "http://x/",
        "attempts": [{"at": "t", "status": 500}, {"at": "t", "error": "broke off"}],
        "next_at": "2026-11-21T10:00:00.000Z",
    }
    assert webhooks.row(delivery) == (
        *("d", "pending", "j", "webhook", "2", "broke off", "2026-11-21 10:00:00", "http://x/"),
    )
    assert webhooks.row({**delivery, "attempts": []})[4:6] == ("0", "")
