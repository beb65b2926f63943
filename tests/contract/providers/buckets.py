"""S3 and Google Cloud Storage, in front of one server of buckets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.config import Settings
from gateway.schemas import BearerAuth, S3Auth
from gateway.storage.gcs import GcsProvider
from gateway.storage.guard import NetworkGuard
from gateway.storage.s3 import S3Provider

from . import storages
from .servers import BUCKET, Servers
from .storages import SECRET, Storage


def s3_settings(servers: Servers) -> Settings:
    return Settings(
        aws_access_key_id="operator",
        aws_secret_access_key=SECRET,
        aws_region="us-east-1",
        aws_endpoint_url=servers.buckets,
    )


@storages.add("s3")
async def s3(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    provider = S3Provider(s3_settings(servers), NetworkGuard())
    yield Storage(
        provider=provider,
        url=lambda name: f"s3://{BUCKET}/{name}",
        wrong=S3Auth(type="s3", access_key_id="wrong", secret_access_key=SECRET),
        nowhere="s3://no-such-bucket/x",
        nowhere_told="bucket",
    )
    await provider.close()


@storages.add("s3-endpoint-of-the-request")
async def s3_of_request(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    provider = S3Provider(Settings(), NetworkGuard(("127.0.0.1",)))
    keys = {"type": "s3", "secret_access_key": SECRET, "endpoint": servers.buckets}
    yield Storage(
        provider=provider,
        url=lambda name: f"s3://{BUCKET}/{name}",
        auth=S3Auth(access_key_id="caller", **keys),
        wrong=S3Auth(access_key_id="wrong", **keys),
        nowhere="s3://no-such-bucket/x",
        nowhere_told="bucket",
    )
    await provider.close()


@storages.add("gcs")
async def gcs(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    account = folder / "account.json"
    told = {"gcs_base_url": servers.buckets, "disable_oauth": True, "client_email": ""}
    account.write_text(json.dumps({**told, "private_key": "", "private_key_id": SECRET}))
    provider = GcsProvider(Settings(google_application_credentials=account), NetworkGuard())
    yield Storage(
        provider=provider,
        url=lambda name: f"gs://{BUCKET}/{name}",
        auth=BearerAuth(type="bearer", token=SECRET),
        wrong=BearerAuth(type="bearer", token=f"wrong-{SECRET}"),
        nowhere="gs://no-such-bucket/x",
        nowhere_told="bucket",
    )
    await provider.close()
