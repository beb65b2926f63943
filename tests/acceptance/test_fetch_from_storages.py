"""Inputs and weights out of every storage, through a gateway as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from gateway.schemas import BearerAuth
from gateway.storage.providers import Providers
from tests.acceptance.conftest import Gateway, png
from tests.contract.providers import hub
from tests.contract.providers.servers import ACCOUNT, ACCOUNT_KEY, AZURITE, BUCKET, Servers
from tests.weights import decoding, safetensors

KEY = "a-secret-of-the-operator"
TOKEN = "hf_of_the_request"
#: The server of Google's buckets here knows no service accounts.
OF_GOOGLE = BearerAuth(type="bearer", token="ya29.of-the-request")
FILES = {"in put.png": png(), "vae é.safetensors": safetensors(70_000)}

needs_azurite = pytest.mark.skipif(
    not AZURITE.exists(), reason="`bash run.sh test` installs Azurite where npm is"
)
BUCKETS = [
    f"s3://{BUCKET}/fetched",
    f"gs://{BUCKET}/fetched",
    pytest.param(f"az://{BUCKET}/fetched", marks=needs_azurite),
]


@pytest.fixture(scope="module")
def environ(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an operator sets for an S3, a Google account and an Azure account."""
    account = tmp_path_factory.mktemp("google") / "account.json"
    told = {"gcs_base_url": servers.buckets, "disable_oauth": True, "client_email": ""}
    account.write_text(json.dumps({**told, "private_key": "", "private_key_id": "x"}))
    found = {
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": servers.buckets,
        "GOOGLE_APPLICATION_CREDENTIALS": str(account),
    }
    if AZURITE.exists():
        found["AZURE_STORAGE_CONNECTION_STRING"] = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={servers.azurite};"
        )
    return found


@pytest.fixture(scope="module")
def equipped(start: Callable[..., Any], environ: dict[str, str]) -> Iterator[Gateway]:
    with start(**environ) as found:
        yield found


async def planted(root: str, environ: dict[str, str], folder: Path) -> list[str]:
    """Put FILES below the root; return their URLs."""
    urls = []
    settings = Settings(**{name.lower(): value for name, value in environ.items()})
    async with Providers.open(settings) as providers:
        for name, body in FILES.items():
            (folder / name).write_bytes(body)
            url = f"{root}/{name}"
            auth = OF_GOOGLE if url.startswith("gs://") else None
            await providers.of(url).write(url, auth, folder / name, "application/octet-stream")
            urls.append(url)
    return urls


def loading(picture: str) -> dict[str, Any]:
    """Return a graph that saves what it loads."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "p"}},
    }


@pytest.mark.parametrize("root", BUCKETS)
async def test_a_picture_and_weights_out_of_a_bucket(
    equipped: Gateway, environ: dict[str, str], root: str, tmp_path: Path
) -> None:
    picture, weights = await planted(root, environ, tmp_path)

    for workflow in (loading(picture), decoding(weights)):
        given = [{"url_pattern": "gs://**", "auth": OF_GOOGLE.model_dump()}]
        answer = await equipped.ask(body={"prompt": workflow, "credentials": given})
        assert answer.status == 200, answer.told
        assert len(answer.json["images"]) == 1


async def test_a_bucket_that_does_not_exist_is_named(equipped: Gateway) -> None:
    answer = await equipped.ask(body={"prompt": decoding("s3://no-such-bucket/x.safetensors")})

    assert answer.status == 400
    assert answer.json["code"] == "model_not_fetched"
    assert "bucket" in answer.told


async def test_a_repository_with_the_token_of_the_request(start: Callable[..., Any]) -> None:
    names = ("in.png", "vae.safetensors")
    files = dict(zip(names, FILES.values(), strict=True))
    async with hub.serving(TOKEN) as server:
        server.repository("org/private", files).is_private = True
        auth = {"type": "bearer", "token": TOKEN}
        with start(HF_ENDPOINT=server.endpoint) as gateway:
            for workflow in (
                loading("hf://org/private/in.png"),
                decoding("hf://org/private/vae.safetensors"),
            ):
                given = [{"url_pattern": "hf://org/**", "auth": auth}]
                refused = await gateway.ask(body={"prompt": workflow})
                answer = await gateway.ask(body={"prompt": workflow, "credentials": given})
                assert refused.status == 400, refused.raw
                assert answer.status == 200, answer.told
