"""Links that live for a while, followed without any credentials."""

from __future__ import annotations

import urllib.request
import uuid
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.schemas import BearerAuth
from gateway.storage.azure import AzureProvider
from gateway.storage.failures import TransferFailed
from gateway.storage.guard import NetworkGuard
from gateway.storage.objectstore import ObjectStoreProvider
from gateway.storage.s3 import S3Provider

from .azure import azure_settings
from .buckets import s3_settings
from .servers import BUCKET, Servers


async def opened(provider: ObjectStoreProvider, scheme: str, folder: Path) -> bytes:
    """Return what a link to a fresh file leads to."""
    (folder / "local").write_bytes(b"a picture")
    url = f"{scheme}://{BUCKET}/{uuid.uuid4().hex}/a b%20ü.png"
    await provider.write(url, None, folder / "local", "image/png")
    link = await provider.presign(url, None, 60)
    await provider.close()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(link, timeout=10) as reply:
        return bytes(reply.read())


async def test_s3(servers: Servers, tmp_path: Path) -> None:
    provider = S3Provider(s3_settings(servers), NetworkGuard())

    assert await opened(provider, "s3", tmp_path) == b"a picture"


async def test_azure(servers: Servers, tmp_path: Path) -> None:
    provider = AzureProvider(azure_settings(servers), NetworkGuard())

    assert await opened(provider, "az", tmp_path) == b"a picture"


@pytest.mark.parametrize("auth", [None, BearerAuth(type="bearer", token="token")])
async def test_without_a_key_there_is_nothing_to_sign_with(auth: BearerAuth | None) -> None:
    with pytest.raises(TransferFailed, match=r"sign|cannot|fit"):
        await S3Provider(Settings(), NetworkGuard()).presign("s3://bucket/x", auth, 60)


async def test_a_key_that_is_none_is_told() -> None:
    settings = Settings(azure_storage_connection_string="AccountName=mine;AccountKey=planted!")
    with pytest.raises(TransferFailed, match="base64") as found:
        await AzureProvider(settings, NetworkGuard()).presign("az://images/x", None, 60)

    assert "planted" not in f"{found.value.verdict}"


async def test_azure_writes_by_the_account_s_url(servers: Servers, tmp_path: Path) -> None:
    provider = AzureProvider(azure_settings(servers), NetworkGuard())
    (tmp_path / "local").write_bytes(b"a picture")
    name = uuid.uuid4().hex
    url = f"{servers.azurite}/{BUCKET}/{name}%20x.png"
    await provider.write(url, None, tmp_path / "local", "image/png")

    assert (await provider.stat(f"az://{BUCKET}/{name} x.png", None)).size == 9
    await provider.close()
