"""Every form in which people write where a file of Hugging Face is."""

from __future__ import annotations

import pytest

from gateway import errors
from gateway.storage import hf_address
from gateway.storage.hf_address import File, Repo, RepoKind

MIRROR = "http://mirror.test:8080/hub/"
HTTPS = "https://huggingface.co"


@pytest.mark.parametrize(
    ("url", "kind", "name", "revision", "path"),
    [
        ("hf://org/repo/x", "model", "org/repo", "main", "x"),
        ("HF://org/repo/x", "model", "org/repo", "main", "x"),
        ("hf://models/org/repo/a/x", "model", "org/repo", "main", "a/x"),
        ("hf://datasets/org/repo@v1/x", "dataset", "org/repo", "v1", "x"),
        ("hf://org/repo@a%2Fb/x", "model", "org/repo", "a/b", "x"),
        ("hf://org/repo@refs%2Fpr%2F1/x", "model", "org/repo", "refs/pr/1", "x"),
        ("hf://org/repo@refs/pr/1/a/x", "model", "org/repo", "refs/pr/1", "a/x"),
        ("hf://org/repo/a b/c%20d", "model", "org/repo", "main", "a b/c d"),
        ("hf://org/repo/x?download=true", "model", "org/repo", "main", "x"),
        ("hf://org/repo/100%25", "model", "org/repo", "main", "100%"),
        (f"{HTTPS}/org/repo/resolve/main/a/x", "model", "org/repo", "main", "a/x"),
        (f"{HTTPS}/org/repo/resolve/main/x?download=true", "model", "org/repo", "main", "x"),
        (f"{HTTPS}/org/repo/blob/v1/a%20b", "model", "org/repo", "v1", "a b"),
        (f"{HTTPS}/org/repo/resolve/refs%2Fpr%2F1/x", "model", "org/repo", "refs/pr/1", "x"),
        (f"{HTTPS}/gpt2/resolve/main/x", "model", "gpt2", "main", "x"),
        (f"{HTTPS}/datasets/org/repo/resolve/main/x", "dataset", "org/repo", "main", "x"),
        ("https://hf.co/org/repo/resolve/main/x", "model", "org/repo", "main", "x"),
        ("https://www.huggingface.co/org/repo/blob/main/x", "model", "org/repo", "main", "x"),
        (f"{MIRROR}org/repo/resolve/main/x", "model", "org/repo", "main", "x"),
    ],
)
def test_files(url: str, kind: RepoKind, name: str, revision: str, path: str) -> None:
    found = hf_address.file_of(url, MIRROR)
    assert found == File(Repo(kind, name, revision), path)
    assert hf_address.file_of(found.url) == found
    assert hf_address.file_of(found.resolved(HTTPS)) == found
    assert hf_address.matches(url, MIRROR) == url.startswith("http")


@pytest.mark.parametrize(
    "url",
    [
        "hf://org/repo",
        "hf://org/repo/",
        "hf://repo",
        "hf://org/repo@/x",
        "hf://org/repo/../x",
        "hf://org/repo/a%2F..%2Fx",
        "hf://org/repo//x",
        "hf://org/repo/x%00",
        "hf://org/..repo/x",
        "hf://org/re--po/x",
        "hf://org/repo.git/x",
        "hf://or g/repo/x",
        "hf://spaces/org/repo/x",
        "hf://",
        f"{HTTPS}/org/repo/tree/main/x",
        f"{HTTPS}/spaces/org/repo/resolve/main/x",
        f"{HTTPS}/api/models/resolve/main/x",
        f"{HTTPS}/org/repo/resolve/main",
        f"{HTTPS}:81/org/repo/resolve/main/x",
        f"{HTTPS}.evil.test/org/repo/resolve/main/x",
        "https://huggingface.co@evil.test/org/repo/resolve/main/x",
        "http://mirror.test:8080/org/repo/resolve/main/x",
        "http://mirror.test/hub/org/repo/resolve/main/x",
        "https://[/org/repo/resolve/main/x",
        "ftp://huggingface.co/org/repo/resolve/main/x",
        "hf://org/repo/" + "x" * 9000,
    ],
)
def test_what_is_no_file(url: str) -> None:
    with pytest.raises(errors.InvalidInput):
        hf_address.file_of(url, MIRROR)
    assert not hf_address.matches(url, MIRROR)


def test_a_mirror_is_known_only_by_its_setting() -> None:
    assert not hf_address.matches(f"{MIRROR}org/repo/resolve/main/x")


@pytest.mark.parametrize(
    ("url", "repo"),
    [
        ("hf://org/repo", Repo("model", "org/repo")),
        ("hf://org/repo/", Repo("model", "org/repo")),
        ("hf://org/repo@v1", Repo("model", "org/repo", "v1")),
        ("hf://datasets/org/repo@a%2Fb", Repo("dataset", "org/repo", "a/b")),
        (f"{HTTPS}/org/repo", Repo("model", "org/repo")),
        (f"{HTTPS}/org/repo/", Repo("model", "org/repo")),
        (f"{HTTPS}/org/repo/tree/v1", Repo("model", "org/repo", "v1")),
        (f"{HTTPS}/datasets/org/repo", Repo("dataset", "org/repo")),
        (f"{MIRROR}org/repo", Repo("model", "org/repo")),
    ],
)
def test_repositories(url: str, repo: Repo) -> None:
    assert hf_address.repo_of(url, MIRROR) == repo
    assert hf_address.repo_of(repo.url) == repo
    assert hf_address.is_repo(url, MIRROR)


@pytest.mark.parametrize(
    "url",
    [
        "hf://org/repo/x",
        "hf://org",
        f"{HTTPS}/docs/transformers",
        f"{HTTPS}/org/repo/tree/main/x",
        f"{HTTPS}/org/repo/resolve/main/x",
        f"{HTTPS}/org",
        "https://example.com/org/repo",
        "sd15.safetensors",
    ],
)
def test_what_is_no_repository(url: str) -> None:
    assert not hf_address.is_repo(url)
    with pytest.raises(errors.InvalidInput, match="names no repository of Hugging Face"):
        hf_address.repo_of(url, None, "prompt.1.inputs.model_path")
