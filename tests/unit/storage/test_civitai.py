"""Which of a version's files a download link means."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.storage import civitai

LINK = "https://civitai.com/api/download/models/128713"
PRUNED, FULL, VAE = "a" * 64, "b" * 64, "c" * 64


def file(sha256: str, type_: str, size: str, *, query: str = "", primary: bool = False) -> Any:
    return {
        "type": type_,
        "metadata": {"format": "SafeTensor", "size": size, "fp": "fp16"},
        "hashes": {"SHA256": sha256.upper()},
        "downloadUrl": LINK + query,
        "primary": primary,
    }


ANSWER = {
    "files": [
        file(PRUNED, "Model", "pruned", primary=True),
        file(FULL, "Model", "full", query="?type=Model&format=SafeTensor&size=full&fp=fp16"),
        file(VAE, "VAE", "full", query="?type=VAE"),
    ]
}


@pytest.mark.parametrize(
    ("query", "sha256"),
    [
        ("", PRUNED),
        ("?token=secret", PRUNED),
        ("?type=Model&format=SafeTensor&size=pruned&fp=fp16", PRUNED),
        ("?fp=fp16&size=full&format=SafeTensor&type=Model", FULL),
        ("?type=VAE&token=secret", VAE),
        ("?size=full&type=model", FULL),
        ("?type=Model", PRUNED),
        ("?size=full", None),
        ("?type=Config", None),
    ],
)
def test_the_hash_is_of_the_file_that_the_link_means(query: str, sha256: str | None) -> None:
    assert civitai.sha256_of(ANSWER, LINK + query) == sha256


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"files": None},
        {"files": ["x"]},
        {"files": [{"downloadUrl": 1}]},
        {"files": [{"hashes": {"SHA256": "short"}}]},
        {"files": [{"hashes": {"SHA256": 7}}]},
        {"files": [{"hashes": None}]},
    ],
)
def test_an_odd_answer_tells_nothing(answer: Any) -> None:
    assert civitai.sha256_of(answer, LINK) is None


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        (LINK, True),
        (f"{LINK}?type=Model", True),
        ("https://civitai.green/api/download/models/1", True),
        ("https://civitai.com/models/128713", False),
        ("https://civitai.com/api/download/models/x", False),
        ("https://civitai.com.evil.test/api/download/models/1", False),
        ("https://civitai.com@evil.test/api/download/models/1", False),
        ("s3://civitai.com/api/download/models/1", False),
        ("https://[/api/download/models/1", False),
    ],
)
def test_which_links_are_civitais(url: str, is_ours: bool) -> None:
    assert civitai.matches(url) is is_ours
