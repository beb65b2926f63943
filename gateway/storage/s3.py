"""S3, and whatever speaks its language: `s3://bucket/key`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar

from yarl import URL

from gateway.config import Settings
from gateway.schemas import Auth, S3Auth
from gateway.storage.failures import GIVEN, TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.objectstore import ObjectStoreProvider, Place, split
from gateway.storage.objectstore_failures import Words
from gateway.storage.provider import ProviderName
from gateway.storage.tunnel import GuardedTunnel

if TYPE_CHECKING:
    from obstore.store import S3Store

#: What says that the machine itself has credentials, which the library then fetches.
_AMBIENT = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
#: It becomes a part of a host's name: a caller's may hold nothing else.
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_DEFAULT_REGION = "us-east-1"


class S3Provider(ObjectStoreProvider):
    """Buckets of S3, with the request's credentials over the operator's."""

    name: ClassVar[ProviderName] = "s3"
    words = Words(
        "S3",
        "bucket",
        f"Give credentials of type s3 ({GIVEN}), or set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY.",
        "Name the bucket's region: `region` of the credentials, or AWS_REGION.",
        naming="3 to 63 lower-case letters, digits, dots and hyphens",
    )

    def __init__(self, settings: Settings, guard: NetworkGuard) -> None:
        super().__init__()
        self._settings = settings
        self._tunnel = GuardedTunnel(guard)

    def place(self, url: str) -> Place:
        """Return bucket and key, as written; raises TransferFailed."""
        return split(url, "s3", _BUCKET, self.words)

    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what a write lacks: credentials, or the region."""
        if isinstance(auth, S3Auth) or self._own_keys() or self._is_ambient():
            if self._endpoint(auth) or self._region(auth):
                return None
            return f"There is no region for S3. {self.words.region}"
        return f"There are no credentials for S3. {self.words.credentials}"

    async def close(self) -> None:
        """Let go of the connections."""
        await super().close()
        await self._tunnel.close()

    def _own_keys(self) -> S3Auth | None:
        found = self._settings
        if not found.aws_access_key_id or not found.aws_secret_access_key:
            return None
        return S3Auth(
            type="s3",
            access_key_id=found.aws_access_key_id,
            secret_access_key=found.aws_secret_access_key,
            session_token=found.aws_session_token,
        )

    def _is_ambient(self) -> bool:
        return any(os.environ.get(name) for name in _AMBIENT)

    def _region(self, auth: Auth | None) -> str | None:
        given = auth.region if isinstance(auth, S3Auth) else None
        return given or self._settings.aws_region or self._settings.aws_default_region

    def _endpoint(self, auth: Auth | None) -> str | None:
        given = auth.endpoint if isinstance(auth, S3Auth) else None
        return given or self._settings.aws_endpoint_url

    async def _options(self, place: Place, auth: Auth | None) -> dict[str, Any]:
        if auth is not None and not isinstance(auth, S3Auth):
            reason = f"credentials of type {auth.type} do not fit S3"
            raise TransferFailed(Verdict(reason, "url", hint=self.words.credentials))
        region = self._region(auth) or _DEFAULT_REGION
        if not _REGION.fullmatch(region):
            raise TransferFailed(Verdict("its region is not valid", "url", hint=self.words.region))
        found: dict[str, Any] = {"region": region, **self._signing(auth)}
        endpoint = self._endpoint(auth)
        if endpoint:
            is_http = endpoint.lower().startswith("http://")
            found |= {"endpoint": endpoint, "client_options": {"allow_http": is_http}}
            if endpoint != self._settings.aws_endpoint_url:
                found["client_options"] |= await self._tunnel.options(_parsed(endpoint))
        return found

    def _signing(self, auth: S3Auth | None) -> dict[str, Any]:
        keys = auth or self._own_keys()
        if keys is None:
            return {} if self._is_ambient() else {"skip_signature": True}

        def provide() -> dict[str, Any]:
            return {
                "access_key_id": keys.access_key_id,
                "secret_access_key": keys.secret_access_key,
                "token": keys.session_token,
                "expires_at": None,
            }

        # Not as three options: what is missing, the library would take from the environment, and
        # a caller's keys would go out with the operator's token.
        return {"credential_provider": provide}

    def _made(self, place: Place, options: dict[str, Any]) -> S3Store:
        from obstore.store import S3Store

        return S3Store(place.container, **options)


def _parsed(endpoint: str) -> URL:
    try:
        found = URL(endpoint)
        is_fit = found.scheme in ("http", "https") and bool(found.host) and bool(found.port)
    except ValueError:
        is_fit = False
    if not is_fit or found.user is not None or found.query_string:
        raise TransferFailed(
            Verdict(
                "the endpoint of its credentials is not an http or https URL",
                "url",
                hint="Write it as https://host.",
            )
        )
    return found
