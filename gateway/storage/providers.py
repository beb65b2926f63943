"""Which provider a URL belongs to; each is made when it is first asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, Self

from yarl import URL

from gateway import errors, graph
from gateway.config import Settings
from gateway.schemas import Auth
from gateway.storage import address
from gateway.storage.guard import NetworkGuard
from gateway.storage.hf_files import RepoFile
from gateway.storage.http import HttpProvider
from gateway.storage.posting import Connections
from gateway.storage.provider import Provider, ProviderName

#: Who sends says how many at a time. None is kept: a call that meets a connection closed meanwhile
#: may have been heard. What the kernel takes at once looks like silence until it is sent.
_TO_RECEIVERS = Connections(limit=0, are_kept=False, send_buffer=1 << 17)


class Closable(Provider, Protocol):
    """A provider that holds connections."""

    async def close(self) -> None:
        """Let go of them."""
        ...


class Providers:
    """The storages of this process; use it inside `open`."""

    def __init__(self, settings: Settings, guard: NetworkGuard, http: HttpProvider) -> None:
        self._settings = settings
        self._guard = guard
        self._http = http
        self._made: dict[ProviderName, Closable] = {}
        self._receivers = HttpProvider(guard, connections=_TO_RECEIVERS)

    @classmethod
    def open(cls, settings: Settings) -> AbstractAsyncContextManager[Self]:
        """Return the running storages, as the settings say."""
        # A mirror of Hugging Face is the operator's own choice, wherever it lies.
        mirror = URL(settings.hf_endpoint).host if settings.hf_endpoint else None
        trusted = (mirror,) if mirror else ()
        guard = NetworkGuard((*settings.allow_private_networks, *trusted))
        header = None
        if settings.http_auth_header_name and settings.http_auth_header_value:
            header = address.OperatorHeader(
                settings.http_auth_header_name,
                settings.http_auth_header_value,
                settings.http_auth_hosts,
            )
        return cls(settings, guard, HttpProvider(guard, header=header)).run()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Hold the connections until left."""
        async with self._http.open(), self._receivers.open():
            try:
                yield self
            finally:
                for provider in self._made.values():
                    await provider.close()

    @property
    def http(self) -> HttpProvider:
        """The client of other hosts."""
        return self._http

    @property
    def receivers(self) -> HttpProvider:
        """The client of webhooks' receivers, in nobody's way however long they hang."""
        return self._receivers

    def of(self, url: str) -> Provider:
        """Return who fetches this URL; raises InvalidInput when nobody does."""
        name = self._name_of(url)
        if name == "http":
            return self._http
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told of a URL without asking its host.

        Raises InvalidInput, InputNotFetched.
        """
        try:
            provider = self.of(url)
        except errors.InvalidInput as failure:
            failure.location = location
            raise
        provider.check(url, location)

    def is_repo(self, url: str) -> bool:
        """Whether a URL is a whole repository of Hugging Face."""
        from gateway.storage import hf_address

        return hf_address.is_repo(url, self._settings.hf_endpoint)

    async def list_repo(self, url: str, auth: Auth | None) -> list[RepoFile]:
        """Return the files of a repository that its loader reads; raises TransferFailed."""
        from gateway.storage.huggingface import HuggingFaceProvider

        hub = self.of("hf://")
        assert isinstance(hub, HuggingFaceProvider)
        return await hub.list_repo(url, auth)

    def _name_of(self, url: str) -> ProviderName:
        from gateway.storage import civitai, hf_address

        scheme = url.partition(":")[0].lower()
        if scheme in _BY_SCHEME:
            return _BY_SCHEME[scheme]
        if scheme not in ("http", "https"):
            raise errors.InvalidInput(
                f"{address.shown(url)} is not a URL that can be fetched.",
                hint=f"A URL begins with {', '.join(f'{name}://' for name in graph.SCHEMES)}.",
            )
        if hf_address.matches(url, self._settings.hf_endpoint):
            return "huggingface"
        return "civitai" if civitai.matches(url) else "http"

    def _make(self, name: ProviderName) -> Closable:
        # Their libraries take tens of MB: who names no bucket never loads them.
        return _MAKERS[name](self._settings, self._guard, self._http)


_BY_SCHEME: dict[str, ProviderName] = {
    "s3": "s3",
    "gs": "gcs",
    "az": "azure",
    "hf": "huggingface",
    "file": "file",
}


def _s3(settings: Settings, guard: NetworkGuard, _: HttpProvider) -> Closable:
    from gateway.storage.s3 import S3Provider

    return S3Provider(settings, guard)


def _gcs(settings: Settings, guard: NetworkGuard, _: HttpProvider) -> Closable:
    from gateway.storage.gcs import GcsProvider

    return GcsProvider(settings, guard)


def _azure(settings: Settings, guard: NetworkGuard, _: HttpProvider) -> Closable:
    from gateway.storage.azure import AzureProvider

    return AzureProvider(settings, guard)


def _huggingface(settings: Settings, _: NetworkGuard, http: HttpProvider) -> Closable:
    from gateway.storage.huggingface import HuggingFaceProvider

    return HuggingFaceProvider(http, settings.hf_token, settings.hf_endpoint)


def _civitai(_: Settings, __: NetworkGuard, http: HttpProvider) -> Closable:
    from gateway.storage.civitai import CivitaiProvider

    return CivitaiProvider(http)


def _file(settings: Settings, _: NetworkGuard, __: HttpProvider) -> Closable:
    from gateway.storage.file import FileProvider

    return FileProvider(tuple(Path(root) for root in settings.allowed_file_roots))


_MAKERS: dict[ProviderName, Callable[[Settings, NetworkGuard, HttpProvider], Closable]] = {
    "s3": _s3,
    "gcs": _gcs,
    "azure": _azure,
    "huggingface": _huggingface,
    "civitai": _civitai,
    "file": _file,
}
