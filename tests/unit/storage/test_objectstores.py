"""URLs, credentials and what is missing, for S3, Google Cloud Storage and Azure Blob."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import errors
from gateway.config import Settings
from gateway.schemas import Auth, BearerAuth, QueryAuth, S3Auth
from gateway.storage.azure import AzureProvider
from gateway.storage.failures import TransferFailed
from gateway.storage.gcs import GcsProvider
from gateway.storage.guard import NetworkGuard
from gateway.storage.objectstore import ObjectStoreProvider, Place
from gateway.storage.s3 import S3Provider

GUARD = NetworkGuard()
KEYS = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
S3_AUTH = S3Auth(type="s3", access_key_id="id", secret_access_key="secret")
BEARER = BearerAuth(type="bearer", token="token")
AZURE = "AccountName=mine;AccountKey=a2V5"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "G"))]:
        monkeypatch.delenv(name)


def s3(**settings: str) -> S3Provider:
    return S3Provider(Settings(**settings), GUARD)  # type: ignore[arg-type]


def azure(connection_string: str | None = AZURE) -> AzureProvider:
    return AzureProvider(Settings(azure_storage_connection_string=connection_string), GUARD)


def gcs(**settings: Path) -> GcsProvider:
    return GcsProvider(Settings(**settings), GUARD)  # type: ignore[arg-type]


MAKERS: list[tuple[Callable[..., ObjectStoreProvider], str]] = [
    (s3, "s3"),
    (gcs, "gs"),
    (azure, "az"),
]


@pytest.mark.parametrize(("make", "scheme"), MAKERS)
@pytest.mark.parametrize("key", ["a", "a/b c", "a%20b", "a?b#c", "ü/日本", "a..b", ".a"])
def test_a_key_is_what_is_written(
    make: Callable[..., ObjectStoreProvider], scheme: str, key: str
) -> None:
    assert make().place(f"{scheme}://bucket/{key}") == Place("bucket", key)


@pytest.mark.parametrize(("make", "scheme"), MAKERS)
@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("bucket", "no key"),
        ("bucket/", "no key"),
        ("bucket//a", "empty part"),
        ("bucket/a//b", "empty part"),
        ("bucket/a/", "empty part"),
        ("bucket/../a", ".."),
        ("bucket/a/./b", "or one that is ."),
        ("/a", "name of a"),
        ("../a", "name of a"),
        ("user@bucket/a", "name of a"),
        ("bucket:80/a", "name of a"),
        ("bucket/a\x00", "control"),
        (f"bucket/{'a' * 1025}", "1024"),
    ],
)
def test_what_names_no_object_is_refused(
    make: Callable[..., ObjectStoreProvider], scheme: str, rest: str, told: str
) -> None:
    with pytest.raises(errors.InvalidInput, match=told.replace(".", r"\.")) as found:
        make().check(f"{scheme}://{rest}", "prompt.1.inputs.image")

    assert found.value.location == "prompt.1.inputs.image"
    assert f"{scheme}://" in (found.value.hint or "")


@pytest.mark.parametrize(
    ("settings", "auth", "told"),
    [
        ({}, None, "no credentials"),
        (KEYS, None, "no region"),
        ({**KEYS, "aws_region": "eu-west-1"}, None, None),
        ({**KEYS, "aws_default_region": "eu-west-1"}, None, None),
        ({**KEYS, "aws_endpoint_url": "http://minio:9000"}, None, None),
        ({"aws_access_key_id": "id", "aws_region": "eu-west-1"}, None, "no credentials"),
        ({}, S3_AUTH, "no region"),
        ({}, S3_AUTH.model_copy(update={"region": "eu-west-1"}), None),
        ({}, S3_AUTH.model_copy(update={"endpoint": "https://r2"}), None),
        ({}, BEARER, "no credentials"),
    ],
)
def test_what_s3_lacks(settings: dict[str, str], auth: Auth | None, told: str | None) -> None:
    found = s3(**settings).is_configured("s3://bucket/x", auth)

    assert found is None if told is None else found and told in found


def test_the_machine_s_own_credentials_are_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")

    assert s3(aws_region="eu-west-1").is_configured("s3://bucket/x", None) is None


def test_what_google_lacks(tmp_path: Path) -> None:
    account = tmp_path / "account.json"

    assert "GOOGLE_APPLICATION_CREDENTIALS" in (gcs().is_configured("gs://bucket/x", None) or "")
    assert gcs().is_configured("gs://bucket/x", BEARER) is None
    own = gcs(google_application_credentials=account)
    assert own.is_configured("gs://bucket/x", None) is None


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{"])
async def test_a_file_that_holds_no_account(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "account.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TransferFailed, match="GOOGLE_APPLICATION_CREDENTIALS") as found:
        await gcs(google_application_credentials=file).stat("gs://bucket/x", None)

    assert found.value.verdict.fault == "network"


@pytest.mark.parametrize(
    ("connection_string", "auth", "told"),
    [
        (None, None, "no account"),
        (None, BEARER, "no account"),
        ("AccountName=mine", None, "no credentials"),
        ("AccountName=mine", BEARER, None),
        (AZURE, None, None),
        ("BlobEndpoint=https://mine.blob.core.windows.net/;SharedAccessSignature=sv=1", None, None),
        ("UseDevelopmentStorage=true", None, None),
    ],
)
def test_what_azure_lacks(
    connection_string: str | None, auth: Auth | None, told: str | None
) -> None:
    found = azure(connection_string).is_configured("az://container/x", auth)

    assert found is None if told is None else found and told in found


def test_an_https_url_of_azure_is_unescaped() -> None:
    provider = azure(f"{AZURE};BlobEndpoint=http://127.0.0.1:1/mine")
    public = "https://other.blob.core.windows.net"

    assert provider.place(f"{public}/images/a%20b/c.png?sv=1") == Place(
        "images", "a b/c.png", public
    )
    own = "http://127.0.0.1:1/mine"
    assert provider.place(f"{own}/images/a.png") == Place("images", "a.png", own)


def test_a_container_s_name_is_said_to_be_too_short() -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        azure().check("az://ab/x")
    hint = refused.value.hint or ""
    assert "The name of a container has 3 to 63 lower-case letters, digits" in hint


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/container/x",
        "https://mine.blob.core.windows.net.evil.example/container/x",
        "https://a@evil.example/container/x",
        "http://other.blob.core.windows.net/container/x",
    ],
)
def test_another_host_is_no_account(url: str) -> None:
    with pytest.raises(errors.InvalidInput):
        azure().check(url)


async def test_the_operator_s_key_stays_with_the_operator_s_account() -> None:
    provider = azure()
    place = provider.place("https://other.blob.core.windows.net/container/x")

    assert "credential_provider" not in await provider._options(place, None)
    assert provider.is_configured("https://other.blob.core.windows.net/container/x", None)


@pytest.mark.parametrize(
    ("auth", "given"),
    [
        (BEARER, {"token": "token"}),
        (BearerAuth(type="bearer", token="?sv=1&sig=x"), {"sas_token": "sv=1&sig=x"}),
        (
            QueryAuth(type="query", query_param="sv", query_value="1&sig=x"),
            {"sas_token": "sv=1&sig=x"},
        ),
    ],
)
async def test_what_azure_is_given(auth: Auth, given: dict[str, str]) -> None:
    provider = azure()
    options = await provider._options(provider.place("az://container/x"), auth)

    assert options["credential_provider"]() == {**given, "expires_at": None}


@pytest.mark.parametrize(
    ("provider", "url", "auth"),
    [
        (s3(), "s3://bucket/x", BEARER),
        (gcs(), "gs://bucket/x", S3_AUTH),
        (azure(), "az://container/x", S3_AUTH),
    ],
)
async def test_credentials_of_another_kind_are_refused(
    provider: ObjectStoreProvider, url: str, auth: Auth
) -> None:
    with pytest.raises(TransferFailed, match="do not fit") as found:
        await provider.stat(url, auth)

    assert found.value.verdict.hint


@pytest.mark.parametrize("region", ["evil.example/#", "a b", "EU", "x" * 65])
async def test_a_region_cannot_name_a_host(region: str) -> None:
    with pytest.raises(TransferFailed, match="region is not valid"):
        await s3().stat("s3://bucket/x", S3_AUTH.model_copy(update={"region": region}))


async def test_a_caller_s_keys_never_go_with_the_operator_s_token() -> None:
    provider = s3(**KEYS, aws_session_token="operator's")
    options = await provider._options(Place("bucket", "x"), S3_AUTH)

    assert options["credential_provider"]()["token"] is None


async def test_without_any_credentials_nothing_is_signed() -> None:
    assert (await s3()._options(Place("bucket", "x"), None))["skip_signature"]
    assert (await gcs()._options(Place("bucket", "x"), None))["skip_signature"]
    assert (await azure("AccountName=mine")._options(Place("images", "x"), None))["skip_signature"]
