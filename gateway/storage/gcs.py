"""Google Cloud Storage: `gs://bucket/key`."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.config import Settings
from gateway.schemas import Auth, BearerAuth
from gateway.storage.failures import GIVEN_TOKEN, TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.objectstore import ObjectStoreProvider, Place, split
from gateway.storage.objectstore_failures import Words
from gateway.storage.provider import ProviderName

if TYPE_CHECKING:
    from obstore.store import GCSStore

#: What else the library takes credentials from.
_AMBIENT = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GCE_METADATA_HOST")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")


class GcsProvider(ObjectStoreProvider):
    """Buckets of Google, with the request's token over the operator's account."""

    name: ClassVar[ProviderName] = "gcs"
    words = Words(
        "Google Cloud Storage",
        "bucket",
        f"Give a bearer token ({GIVEN_TOKEN}), or set GOOGLE_APPLICATION_CREDENTIALS to the file "
        "of a service account.",
        naming="3 to 222 lower-case letters, digits, dots, hyphens and underscores",
    )

    def __init__(self, settings: Settings, guard: NetworkGuard) -> None:
        """Only Google's own address and the operator's are asked: the guard has nothing to say."""
        super().__init__()
        self._file = settings.google_application_credentials
        self._account: dict[str, Any] | None = None

    def place(self, url: str) -> Place:
        """Return bucket and key, as written; raises TransferFailed."""
        return split(url, "gs", _BUCKET, self.words)

    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what a write lacks: credentials."""
        if isinstance(auth, BearerAuth) or self._file is not None or _is_ambient():
            return None
        return f"There are no credentials for Google Cloud Storage. {self.words.credentials}"

    async def _options(self, place: Place, auth: Auth | None) -> dict[str, Any]:
        if auth is not None and not isinstance(auth, BearerAuth):
            reason = f"credentials of type {auth.type} do not fit Google Cloud Storage"
            raise TransferFailed(Verdict(reason, "url", hint=self.words.credentials))
        account = await self._known()
        base = account.get("gcs_base_url")
        found: dict[str, Any] = {}
        if base:
            is_http = str(base).lower().startswith("http://")
            found = {"base_url": str(base), "client_options": {"allow_http": is_http}}
        return found | self._signing(account, auth)

    def _signing(self, account: dict[str, Any], auth: BearerAuth | None) -> dict[str, Any]:
        if auth is not None:
            return {"credential_provider": lambda: {"token": auth.token, "expires_at": None}}
        if account:
            # Of the library's two doors, one takes people and the other takes machines.
            is_person = account.get("type") == "authorized_user"
            door = "application_credentials" if is_person else "service_account"
            return {door: str(self._file)}
        return {} if _is_ambient() else {"skip_signature": True}

    async def _known(self) -> dict[str, Any]:
        """Return what the operator's file says; raises TransferFailed when it says nothing."""
        if self._account is None:
            self._account = {} if self._file is None else await asyncio.to_thread(_read, self._file)
        return self._account

    def _made(self, place: Place, options: dict[str, Any]) -> GCSStore:
        from obstore.store import GCSStore

        return GCSStore(place.container, **options)


def _is_ambient() -> bool:
    return any(os.environ.get(name) for name in _AMBIENT)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not found:
        raise TransferFailed(
            Verdict(
                "the file that GOOGLE_APPLICATION_CREDENTIALS names holds no account",
                "network",
                hint="Set it to the JSON file of a service account.",
            )
        )
    return found
