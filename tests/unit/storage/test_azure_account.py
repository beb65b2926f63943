"""The account of a connection string."""

from __future__ import annotations

import pytest

from gateway.storage.azure_account import account_of, account_url

AZURE = "AccountName=mine;AccountKey=a2V5"


@pytest.mark.parametrize(
    ("connection_string", "url"),
    [
        (AZURE, "https://mine.blob.core.windows.net"),
        (f"DefaultEndpointsProtocol=http;{AZURE};EndpointSuffix=x.cn", "http://mine.blob.x.cn"),
        (f"{AZURE};BlobEndpoint=http://127.0.0.1:1/mine/", "http://127.0.0.1:1/mine"),
        ("UseDevelopmentStorage=true", "http://127.0.0.1:10000/devstoreaccount1"),
        (
            f"{AZURE};EndpointSuffix=core.chinacloudapi.cn",
            "https://mine.blob.core.chinacloudapi.cn",
        ),
        ("AccountKey=a2V5", None),
        (None, None),
    ],
)
def test_the_account_s_url(connection_string: str | None, url: str | None) -> None:
    assert account_url(connection_string) == url


def test_a_connection_string_s_key_keeps_its_padding() -> None:
    found = account_of("AccountName=mine;AccountKey=YQ==")

    assert found is not None
    assert found.key == "YQ=="
