"""Signatures of webhooks, as Standard Webhooks has them."""

from __future__ import annotations

from datetime import UTC, datetime


class Signer:
    """Signs with a key; without one, calls go unsigned."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key

    def headers(self, message_id: str, now: float, body: bytes) -> dict[str, str]:
        """Return the headers of one call; `now` is seconds since 1970.

        The id stays the same when a call is tried again; the time is that of the try.
        """
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now))}
        if self._key is None:
            return headers
        from standardwebhooks import Webhook

        # The library reads any time as one of UTC.
        moment = datetime.fromtimestamp(int(now), UTC)
        signature = Webhook(self._key).sign(message_id, moment, body.decode())
        return {**headers, "webhook-signature": signature}
