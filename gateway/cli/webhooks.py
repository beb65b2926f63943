"""`gateway webhooks`: what is owed, what died, and whether a call is genuine."""

from __future__ import annotations

import hmac
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway import setting_values
from gateway.cli.client import Client
from gateway.cli.failure import CommandFailed

COLUMNS = ("ID", "STATE", "JOB", "KIND", "TRIES", "LAST", "NEXT (UTC)", "URL")
_PAGE = 200
#: Digits of a time at most: Python refuses to read thousands of them.
_TIMESTAMP_LENGTH = 100
_NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


async def listed(
    client: Client, *, state: str | None, job: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the newest deliveries."""
    query = {"state": state, "job_id": job, "limit": str(limit)}
    given = {name: value for name, value in query.items() if value is not None}
    answer = await client.ask("GET", "/webhooks/deliveries", params=given)
    found: list[dict[str, Any]] = answer["deliveries"]
    return found


async def dead(client: Client) -> AsyncIterator[str]:
    """Yield the ids of all dead letters, page after page."""
    cursor: str | None = None
    while True:
        query = {"state": "dead", "limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
        answer = await client.ask("GET", "/webhooks/deliveries", params=query)
        for delivery in answer["deliveries"]:
            yield delivery["id"]
        cursor = answer.get("next_cursor")
        if cursor is None:
            return


async def replayed(client: Client, delivery_id: str) -> str:
    """Send a webhook again; return the state of its delivery."""
    path = f"/webhooks/deliveries/{quote(delivery_id, safe='')}/replay"
    return str((await client.ask("POST", path))["state"])


def row(delivery: dict[str, Any]) -> tuple[str, ...]:
    """Return a delivery as a line of the table."""
    attempts = delivery["attempts"]
    return (
        delivery["id"],
        delivery["state"],
        delivery["job_id"],
        delivery["kind"],
        str(len(attempts)),
        _outcome(attempts[-1]) if attempts else "",
        delivery.get("next_at", "")[:19].replace("T", " "),
        delivery["url"],
    )


def _outcome(attempt: dict[str, Any]) -> str:
    return str(attempt.get("error") or attempt.get("status") or "")


@dataclass(frozen=True)
class Heard:
    """A call as a receiver got it."""

    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def read(cls, body: str, header_file: Path | None, given: Mapping[str, str | None]) -> Heard:
        """Return a call out of files, `-` for standard input; raises CommandFailed.

        What is given outright wins over the file of headers.
        """
        found = _headers(_bytes(header_file).decode("latin-1")) if header_file else {}
        found |= {name: value for name, value in given.items() if value is not None}
        raw = sys.stdin.buffer.read() if body == "-" else _bytes(Path(body))
        return cls(found, raw)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise CommandFailed(f"{path}: {failure.strerror}.") from None


def _headers(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def problem(heard: Heard, secret: str, tolerance: float) -> str | None:
    """Return why a call is not genuine, or None; `tolerance` in seconds, 0 for any age.

    Raises CommandFailed for a secret that is none.
    """
    missing = [name for name in _NAMES if not heard.headers.get(name)]
    if missing:
        return f"{' and '.join(missing)}: missing."
    message_id, sent, signatures = (heard.headers[name] for name in _NAMES)
    if not (sent.isascii() and sent.isdecimal() and len(sent) <= _TIMESTAMP_LENGTH):
        return "webhook-timestamp is not a number of seconds."
    if not _is_signed(heard.body, message_id, int(sent), signatures, secret):
        return (
            "The signature is another's: the secret, the id, the timestamp or the body is not "
            "what was signed. The body must be the bytes as they came."
        )
    age = time.time() - int(sent)
    if tolerance and abs(age) > tolerance:
        which = "old" if age > 0 else "new"
        return f"It is too {which}: sent {abs(age):.0f} s {'ago' if age > 0 else 'from now'}."
    return None


def _is_signed(body: bytes, message_id: str, sent: int, signatures: str, secret: str) -> bool:
    from standardwebhooks import Webhook

    try:
        key = setting_values.webhook_key(secret)
    except ValueError as failure:
        raise CommandFailed(
            f"The secret is no key: {failure}.",
            hint="It is WEBHOOK_SECRET, with or without whsec_ in front.",
        ) from None
    assert key is not None
    try:
        expected = Webhook(key).sign(message_id, datetime.fromtimestamp(sent, UTC), body.decode())
    except (UnicodeDecodeError, OverflowError, OSError, ValueError):
        # No UTF-8, or a time that no calendar has.
        return False
    found = [signature.encode() for signature in signatures.split()]
    return any(hmac.compare_digest(expected.encode(), signature) for signature in found)
