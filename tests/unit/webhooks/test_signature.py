"""Signatures, as receivers verify them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from standardwebhooks import Webhook

from gateway.webhooks.signature import Signer

KEY = b"a key of thirty-two bytes, no less"
BODY = '{"event":"storage.file_uploaded","data":{"name":"é"}}'.encode()


def test_a_receiver_verifies_it() -> None:
    now = time.time()
    headers = Signer(KEY).headers("msg_1", now, BODY)
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == str(int(now))

    assert Webhook(base64.b64encode(KEY).decode()).verify(BODY, headers)["data"] == {"name": "é"}


def test_it_is_the_hmac_of_id_time_and_body() -> None:
    headers = Signer(KEY).headers("msg_1", 1_700_000_000.9, BODY)

    digest = hmac.new(KEY, b"msg_1.1700000000." + BODY, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_another_body_does_not_verify() -> None:
    headers = Signer(KEY).headers("msg_1", time.time(), BODY)

    with pytest.raises(Exception, match="No matching signature"):
        Webhook(base64.b64encode(KEY).decode()).verify(BODY + b" ", headers)


def test_without_a_key_it_goes_unsigned() -> None:
    assert Signer(None).headers("msg_1", 5.0, BODY) == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "5",
    }
