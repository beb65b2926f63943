"""Base64, as tolerant as clients are careless, and no more."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.media import encoded
from gateway.storage.partfile import PartFile

SALT = b"salt"
LIMIT = 10_000_000


def png(size: int = 32) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((size, size), 80).save(out, "PNG")
    return out.getvalue()


PNG = png()
TEXT = base64.b64encode(PNG).decode()


def decoded(folder: Path, given: encoded.Encoded | None, limit: int = LIMIT) -> bytes:
    assert given is not None
    part = PartFile(folder)
    try:
        result = encoded.decode(given, part, limit, SALT)
        part.keep(folder / "out")
        assert result.size == (folder / "out").stat().st_size
        return (folder / "out").read_bytes()
    finally:
        part.discard()


def wrapped(text: str, width: int = 76, newline: str = "\r\n") -> str:
    return newline.join(text[at : at + width] for at in range(0, len(text), width))


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("="),
        wrapped(TEXT),
        wrapped(TEXT, newline=" \t\n"),
        base64.urlsafe_b64encode(PNG).decode(),
        f"  {TEXT}\n",
    ],
    ids=["plain", "unpadded", "wrapped", "spaced", "url-safe", "surrounded"],
)
def test_base64_of_a_known_type_is_decoded(tmp_path: Path, text: str) -> None:
    assert decoded(tmp_path, encoded.bare(text)) == PNG


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "data:;base64,",
        "data:image/png;charset=utf-8;name=a.png;base64,",
        "DATA:IMAGE/PNG;BASE64,",
        "data:image/png; base64,",
    ],
)
def test_a_data_url_is_decoded(tmp_path: Path, head: str) -> None:
    assert decoded(tmp_path, encoded.data_url(head + TEXT)) == PNG


def test_a_percent_encoded_data_url_is_decoded(tmp_path: Path) -> None:
    url = "data:image/png," + quote_from_bytes(PNG)

    assert decoded(tmp_path, encoded.data_url(url)) == PNG


def test_a_jpeg_begins_with_a_slash(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    text = base64.b64encode(out.getvalue()).decode()

    assert text.startswith("/9j/")
    assert decoded(tmp_path, encoded.bare(text)) == out.getvalue()


@pytest.mark.parametrize(
    "text",
    ["", "kittens", "photo.png", "a" * 5000, "/etc/passwd", "é" * 100, "/9j/", "Qk0=", "\ud800"],
)
def test_what_is_no_media_is_not_taken_for_base64(text: str) -> None:
    assert encoded.bare(text) is None


@pytest.mark.parametrize("text", ["photo.png", "database:x,", "data", "data:no comma"])
def test_what_is_no_data_url(text: str) -> None:
    assert encoded.data_url(text) is None


@pytest.mark.parametrize("damage", ["%", "é", "=AAAA", "\0"])
def test_damage_far_inside_is_noticed(tmp_path: Path, damage: str) -> None:
    text = TEXT[:800] + damage + TEXT[800:]

    with pytest.raises(encoded.NotBase64):
        decoded(tmp_path, encoded.data_url(f"data:image/png;base64,{text}"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"<!doctype html>"])
def test_a_data_url_of_no_known_type_is_refused(tmp_path: Path, content: bytes) -> None:
    text = base64.b64encode(content).decode()

    with pytest.raises(encoded.UnknownType):
        decoded(tmp_path, encoded.data_url(f"data:image/png;base64,{text}"))


def test_the_limit_counts_bytes_and_not_the_white_space_between(tmp_path: Path) -> None:
    spaced = encoded.bare(wrapped(TEXT, 4, " \n  "))

    assert decoded(tmp_path, spaced, len(PNG)) == PNG
    with pytest.raises(encoded.TooLong) as refused:
        decoded(tmp_path, spaced, len(PNG) - 1)
    assert refused.value.size == len(PNG)


def test_more_than_one_piece_is_decoded(tmp_path: Path) -> None:
    large = png(1100)
    assert len(large) > encoded.PIECE

    text = base64.b64encode(large).decode()

    assert decoded(tmp_path, encoded.bare(text.rstrip("="))) == large
    assert decoded(tmp_path, encoded.bare(wrapped(text, 77))) == large


def test_the_digest_is_salted_and_tells_equal_bytes(tmp_path: Path) -> None:
    def digest(text: str, salt: bytes) -> bytes:
        part = PartFile(tmp_path)
        given = encoded.bare(text)
        assert given is not None
        try:
            return encoded.decode(given, part, LIMIT, salt).digest
        finally:
            part.discard()

    assert digest(TEXT, b"a") == digest(wrapped(TEXT), b"a") != digest(TEXT, b"b")


@given(st.binary(max_size=3000), st.integers(0, 3), st.integers(1, 90))
def test_any_tail_survives_any_wrapping(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, strip: int, width: int
) -> None:
    content = PNG[:33] + tail
    text = base64.b64encode(content).decode()
    if strip:
        text = text.rstrip("=")
    folder = tmp_path_factory.mktemp("any")

    assert decoded(folder, encoded.bare(wrapped(text, width))) == content


@given(st.text(max_size=300))
def test_no_text_makes_it_raise(text: str) -> None:
    encoded.bare(text)
    encoded.data_url(text)
