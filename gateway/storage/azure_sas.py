"""Signed links to blobs, as Azure's documentation of service SAS tells; pure.

The library signs a blob's name as it is escaped in the URL, where Azure wants it plain: its links
to names with blanks in them are refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

_VERSION = "2021-08-06"
#: Clocks differ: a link that begins now may not have begun there.
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Signer:
    """An account that can sign."""

    url: str
    account: str
    #: Base64.
    key: str


def link(signer: Signer, container: str, name: str, now: datetime, seconds: int) -> str:
    """Return a link to a blob that can be read for so long; ValueError: the key is not base64."""
    fields = {
        "sp": "r",
        "st": _written(now - _SKEW),
        "se": _written(now + timedelta(seconds=seconds)),
        "sv": _VERSION,
        "sr": "b",
    }
    resource = f"/blob/{signer.account}/{container}/{name}"
    head = [fields["sp"], fields["st"], fields["se"], resource, "", "", "", fields["sv"], "b"]
    # Snapshot, encryption scope and five headers of the answer: none of them is set.
    text = "\n".join([*head, *[""] * 7])
    digest = hmac.digest(base64.b64decode(signer.key, validate=True), text.encode(), hashlib.sha256)
    query = urlencode({**fields, "sig": base64.b64encode(digest).decode()})
    return f"{signer.url}/{quote(container, safe='$')}/{quote(name)}?{query}"


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
