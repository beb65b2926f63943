"""Azure Blob Storage: `az://container/blob`, and `<account URL>/container/blob`."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from gateway.config import Settings
from gateway.schemas import Auth, BearerAuth, QueryAuth
from gateway.storage import azure_sas
from gateway.storage.azure_account import Account, account_of
from gateway.storage.failures import GIVEN_TOKEN, TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.objectstore import ObjectStoreProvider, Place, placed, split
from gateway.storage.objectstore_failures import Words
from gateway.storage.provider import ProviderName

if TYPE_CHECKING:
    from obstore.store import AzureStore

_CONTAINER = re.compile(r"\$root|\$web|[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")
_PUBLIC = re.compile(r"https://([a-z0-9]{3,24})\.blob\.core\.windows\.net", re.IGNORECASE)
#: Where the library finds an account without the connection string.
_AMBIENT = "AZURE_STORAGE_ACCOUNT_NAME"


class AzureProvider(ObjectStoreProvider):
    """Containers of Azure, with the request's SAS or token over the operator's account."""

    name: ClassVar[ProviderName] = "azure"
    words = Words(
        "Azure Blob Storage",
        "container",
        f"Give a SAS or a token as bearer ({GIVEN_TOKEN}), or set AZURE_STORAGE_CONNECTION_STRING.",
        naming="3 to 63 lower-case letters, digits and single hyphens between them",
    )

    def __init__(self, settings: Settings, guard: NetworkGuard) -> None:
        """Only Azure's own addresses and the operator's are asked: the guard has nothing to say."""
        super().__init__()
        self._account = account_of(settings.azure_storage_connection_string)

    def place(self, url: str) -> Place:
        """Return container and blob; those of an https URL are unescaped. Raises TransferFailed."""
        if not url.lower().startswith(("http://", "https://")):
            return split(url, "az", _CONTAINER, self.words)
        endpoint = self._endpoint_of(url)
        path = url.split("?", 1)[0].split("#", 1)[0].removeprefix(endpoint or "")
        container, _, blob = path.lstrip("/").partition("/")
        return placed(
            unquote(container),
            unquote(blob),
            _CONTAINER,
            self.words,
            form="az://container/blob",
            **({"endpoint": endpoint} if endpoint else {}),
        )

    def _endpoint_of(self, url: str) -> str | None:
        """Return the account's URL; None when it is the operator's own, or no account's."""
        if self._account and url.startswith(f"{self._account.url}/"):
            return self._account.url
        found = _PUBLIC.match(url)
        if found is None:
            raise TransferFailed(
                Verdict("its host is no account's", "url", hint="Write it as az://container/blob.")
            )
        return found[0]

    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what a write lacks: an account, or credentials for it."""
        place = self.place(url)
        is_own = place.endpoint is None or self._is_own(place.endpoint)
        if is_own and self._account is None and not _is_ambient():
            return f"There is no account for Azure Blob Storage. {self.words.credentials}"
        if auth is not None:
            return None
        account = self._account
        if is_own and (account is None or account.key or account.sas or account.is_emulator):
            return None
        return f"There are no credentials for Azure Blob Storage. {self.words.credentials}"

    def _is_own(self, endpoint: str) -> bool:
        return self._account is not None and endpoint == self._account.url

    async def presign(self, url: str, auth: Auth | None, seconds: int) -> str:
        """Return a link to a blob that lives for so long; raises TransferFailed."""
        place, account = self.place(url), self._account
        is_own = place.endpoint is None or self._is_own(place.endpoint)
        if auth is not None or account is None or not account.key or not is_own:
            return await super().presign(url, auth, seconds)
        signer = azure_sas.Signer(account.url, account.name, account.key)
        try:
            return azure_sas.link(signer, place.container, place.key, datetime.now(UTC), seconds)
        except ValueError:
            reason = "the key in AZURE_STORAGE_CONNECTION_STRING is not base64"
            raise TransferFailed(Verdict(reason, "network")) from None

    async def _options(self, place: Place, auth: Auth | None) -> dict[str, Any]:
        account = self._account
        if place.endpoint is not None and not self._is_own(place.endpoint):
            found = _PUBLIC.match(place.endpoint)
            account = Account(found[1] if found else "", place.endpoint)
        if account is None:
            if _is_ambient():
                return self._signing(None, auth)
            raise TransferFailed(
                Verdict("no account of Azure Blob Storage is known", "url", hint=_NO_ACCOUNT)
            )
        if account.is_emulator and auth is None:
            return {"use_emulator": True, "client_options": {"allow_http": True}}
        return {
            "account_name": account.name,
            "endpoint": account.url,
            "client_options": {"allow_http": account.url.startswith("http://")},
            **self._signing(account, auth),
        }

    def _signing(self, account: Account | None, auth: Auth | None) -> dict[str, Any]:
        if isinstance(auth, BearerAuth | QueryAuth):
            given = _given(auth)
            return {"credential_provider": lambda: {**given, "expires_at": None}}
        if auth is not None:
            reason = f"credentials of type {auth.type} do not fit Azure Blob Storage"
            raise TransferFailed(Verdict(reason, "url", hint=self.words.credentials))
        if account is None:
            return {}
        if account.key:
            key = {"access_key": account.key, "expires_at": None}
            return {"credential_provider": lambda: key}
        if account.sas:
            sas = {"sas_token": account.sas, "expires_at": None}
            return {"credential_provider": lambda: sas}
        return {"skip_signature": True}

    def _made(self, place: Place, options: dict[str, Any]) -> AzureStore:
        from obstore.store import AzureStore

        return AzureStore(place.container, **options)


_NO_ACCOUNT = (
    "Set AZURE_STORAGE_CONNECTION_STRING, or write the URL as "
    "https://ACCOUNT.blob.core.windows.net/container/blob."
)


def _given(auth: BearerAuth | QueryAuth) -> dict[str, str]:
    text = auth.token if isinstance(auth, BearerAuth) else f"{auth.query_param}={auth.query_value}"
    is_sas = "sig=" in text
    return {"sas_token": text.lstrip("?")} if is_sas else {"token": text}


def _is_ambient() -> bool:
    return bool(os.environ.get(_AMBIENT))
