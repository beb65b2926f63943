"""Azure Blob Storage, in front of Azurite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from gateway.config import Settings
from gateway.schemas import BearerAuth
from gateway.storage.azure import AzureProvider
from gateway.storage.guard import NetworkGuard

from . import storages
from .servers import ACCOUNT, ACCOUNT_KEY, BUCKET, Servers
from .storages import SECRET, Storage


def azure_settings(servers: Servers) -> Settings:
    return Settings(
        azure_storage_connection_string=f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};"
        f"AccountKey={ACCOUNT_KEY};BlobEndpoint={servers.azurite};"
    )


@storages.add("azure")
async def azure(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    provider = AzureProvider(azure_settings(servers), NetworkGuard())
    sas = f"sv=2023-11-03&sr=c&sp=r&se=2999-01-01T00%3A00%3A00Z&sig={SECRET}"
    yield Storage(
        provider=provider,
        url=lambda name: f"az://{BUCKET}/{name}",
        wrong=BearerAuth(type="bearer", token=sas),
        nowhere="az://no-such-container/x",
        nowhere_told="container",
    )
    await provider.close()
