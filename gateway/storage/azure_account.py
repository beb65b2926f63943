"""Which account of Azure a connection string names; pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_SUFFIX = "core.windows.net"
# Azurite's account is the same everywhere; its documentation names it.
_EMULATOR_NAME = "devstoreaccount1"
_EMULATOR_URL = f"http://127.0.0.1:10000/{_EMULATOR_NAME}"


@dataclass(frozen=True)
class Account:
    """What a connection string says."""

    name: str
    url: str
    key: str | None = None
    sas: str | None = None
    is_emulator: bool = False


def account_of(connection_string: str | None) -> Account | None:
    """Return the account that a connection string names; None when it names none."""
    pairs = [part.partition("=") for part in (connection_string or "").split(";")]
    found = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if found.get("usedevelopmentstorage", "").lower() == "true":
        return Account(_EMULATOR_NAME, _EMULATOR_URL, is_emulator=True)
    url = found.get("blobendpoint", "").rstrip("/")
    name = found.get("accountname") or (urlsplit(url).hostname or "").partition(".")[0]
    if not name:
        return None
    protocol = found.get("defaultendpointsprotocol", "https")
    suffix = found.get("endpointsuffix", _SUFFIX)
    sas = found.get("sharedaccesssignature", "").lstrip("?")
    return Account(
        name, url or f"{protocol}://{name}.blob.{suffix}", found.get("accountkey"), sas or None
    )


def account_url(connection_string: str | None) -> str | None:
    """Return the URL of the account that a connection string names, under which blobs are told."""
    found = account_of(connection_string)
    return found.url if found else None
