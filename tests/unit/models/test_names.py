"""The cache name of a URL."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models import names

CIVITAI = "https://civitai.com/api/download/models/128713?type=Model&format=SafeTensor&size=pruned&fp=fp16"


def test_the_name_that_other_sidecars_give() -> None:
    found = names.extension(CIVITAI, "dreamshaper_8.safetensors", "application/octet-stream")

    assert names.stem(CIVITAI) + found == "Pk6VSKLStckZydwGhX0bM8TqaqHEW9yt.safetensors"


@pytest.mark.parametrize(
    ("url", "hashed"),
    [
        ("https://user:pass@host/a.bin", "https://host/a.bin"),
        ("https://user@host:8080?x=@y", "https://host:8080?x=@y"),
        ("https://u:p@ss@host/a", "https://host/a"),
        ("https://host/user:pass@b#c@d", "https://host/user:pass@b#c@d"),
        ("s3://key:secret@bucket/a b.bin", "s3://bucket/a b.bin"),
        ("hf://gpt2@main/model.bin", "hf://gpt2@main/model.bin"),
        ("HTTP://Host/%41", "HTTP://Host/%41"),
        ("no url @ all", "no url @ all"),
    ],
)
def test_the_url_is_hashed_as_written_less_user_and_password(url: str, hashed: str) -> None:
    digest = hashlib.sha256(hashed.encode()).digest()

    assert names.stem(url) == base64.urlsafe_b64encode(digest)[:32].decode()


@given(st.text(max_size=300))
def test_any_text_has_a_stem_that_is_a_file_name(url: str) -> None:
    assert names.stem_of(names.stem(url) + ".safetensors") == names.stem(url)


@pytest.mark.parametrize(
    ("url", "filename", "content_type", "expected"),
    [
        ("https://h/a.safetensors?x=b.ckpt", "c.pt", None, ".safetensors"),
        ("https://h/a.SafeTensors", None, None, ".SafeTensors"),
        ("https://h.example/", None, None, ""),
        ("https://h.example", None, None, ""),
        ("https://h/download#a.ckpt", "c.pt", "text/plain", ".pt"),
        ("https://h/download", r"C:\models\c.gguf", None, ".gguf"),
        ("https://h/download", None, "application/json; charset=utf-8", ".json"),
        ("https://h/download", None, "application/octet-stream", ".bin"),
        ("https://h/download", None, "application/x-unheard-of", ""),
        ("https://h/a.b/../download", "x.;rm -rf", None, ""),
        ("https://h/.hidden", None, None, ""),
        ("hf://owner/name/folder/my model.safetensors", None, None, ".safetensors"),
        ("https://h/a." + "x" * 300, None, None, ""),
    ],
)
def test_the_extension(
    url: str, filename: str | None, content_type: str | None, expected: str
) -> None:
    assert names.extension(url, filename, content_type) == expected


@pytest.mark.parametrize(
    "name",
    ["", "links", ".gitkeep", "a" * 31, "a" * 33, "a" * 32 + ".", "a" * 32 + ".a/b", "é" * 32],
)
def test_what_the_cache_would_not_call_a_file(name: str) -> None:
    assert names.stem_of(name) is None
