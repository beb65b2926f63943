"""Signatures of webhooks, as Standard Webhooks has them."""

from __future__ import annotations

import base64
import hashlib
import hmac


class Signer:
    """Signs with a key; without one, calls go unsigned."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key

    def begin(self, message_id: str, now: float) -> Seal:
        """Return what a body is put through piece by piece; `now` is seconds since 1970.

        The id stays the same when a call is tried again; the time is that of the try.
        """
        return Seal(self._key, message_id, int(now))

    def headers(self, message_id: str, now: float, body: bytes) -> dict[str, str]:
        """Return the headers of one call with a body that is at hand."""
        seal = self.begin(message_id, now)
        seal.update(body)
        return seal.headers


class Seal:
    """The signature of one call, as its body goes by."""

    def __init__(self, key: bytes | None, message_id: str, now: int) -> None:
        self._named = {"webhook-id": message_id, "webhook-timestamp": str(now)}
        head = f"{message_id}.{now}.".encode()
        self._digest = None if key is None else hmac.new(key, head, hashlib.sha256)

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if self._digest is not None:
            self._digest.update(piece)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a call whose body went by."""
        if self._digest is None:
            return self._named
        signature = base64.b64encode(self._digest.digest()).decode()
        return {**self._named, "webhook-signature": f"v1,{signature}"}
