"""Types and sizes, told from real files."""

from __future__ import annotations

import io
import struct
import time
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.media import sniff


def picture(form: str, mode: str = "RGB", size: tuple[int, int] = (37, 21), **how: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, form, **how)
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    return out.getvalue()


def box(brand: bytes, *others: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body + bytes(64)


def exr() -> bytes:
    window = struct.pack("<4i", 0, 0, 36, 20)
    return b"\x76\x2f\x31\x01\x02\0\0\0dataWindow\0box2i\0" + struct.pack("<I", 16) + window + b"\0"


PICTURES = {
    "png": (picture("PNG"), sniff.PNG),
    "png 16": (picture("PNG", "I;16"), sniff.PNG),
    "jpeg": (picture("JPEG"), sniff.JPEG),
    "jpeg progressive": (picture("JPEG", progressive=True), sniff.JPEG),
    "jpeg with much before its size": (picture("JPEG", icc_profile=b"x" * 300_000), sniff.JPEG),
    "webp": (picture("WEBP"), sniff.WEBP),
    "webp lossless": (picture("WEBP", lossless=True), sniff.WEBP),
    "webp alpha": (picture("WEBP", "RGBA"), sniff.WEBP),
    "gif": (picture("GIF", "P"), sniff.GIF),
    "bmp": (picture("BMP"), sniff.BMP),
    "tiff": (picture("TIFF"), sniff.TIFF),
    "avif": (picture("AVIF"), sniff.AVIF),
    "exr": (exr(), sniff.EXR),
    "hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 21 +X 37\n\x02\x02", sniff.HDR),
}
OTHERS = {
    "mp4": (box(b"isom", b"iso2", b"mp41"), sniff.MP4),
    "mov": (box(b"qt  "), sniff.MOV),
    "m4a": (box(b"M4A "), sniff.M4A),
    "heic": (box(b"heic", b"mif1"), sniff.HEIC),
    "heic as mif1": (box(b"mif1", b"heic"), sniff.HEIC),
    "avif as mif1": (box(b"mif1", b"avif"), sniff.AVIF),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", sniff.WEBM),
    "mkv": (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska", sniff.MKV),
    "avi": (b"RIFF\x10\0\0\0AVI LIST", sniff.AVI),
    "wav": (sound(), sniff.WAV),
    "mp3": (b"\xff\xfb\x90\x64" + bytes(60), sniff.MP3),
    "mp3 tagged": (b"ID3\x04\0\0\0\0\0\x21" + bytes(60), sniff.MP3),
    "aac": (b"\xff\xf1\x50\x80" + bytes(60), sniff.AAC),
    "flac": (b"fLaC\0\0\0\x22" + bytes(60), sniff.FLAC),
    "ogg": (b"OggS\0\x02" + bytes(22) + b"\x01vorbis", sniff.OGG),
    "opus": (b"OggS\0\x02" + bytes(22) + b"OpusHead", sniff.OPUS),
    "glb": (b"glTF\x02\0\0\0" + bytes(60), sniff.GLB),
    "svg": (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="x"/>', sniff.SVG),
}
NOTHING = {
    "empty": b"",
    "text": b"hello, this is text",
    "html": b"<!doctype html><html>",
    "zeros": bytes(64),
    "BM by chance": b"BM" + b"\x9d\x82" * 20,
    "UTF-16": b"\xff\xfeh\0i\0",
    "riff of another kind": b"RIFF\x10\0\0\0abcd",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_known_and_measured(tmp_path: Path, name: str) -> None:
    content, kind = PICTURES[name]
    (tmp_path / "x").write_bytes(content)

    assert sniff.kind_of(content[: sniff.HEAD_BYTES]) == kind
    assert sniff.size_of(tmp_path / "x") == (37, 21)


@pytest.mark.parametrize("form", ["AVIF", "WEBP", "PNG", "JPEG"])
def test_a_rotated_picture_is_measured(tmp_path: Path, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "x").write_bytes(picture(form, exif=exif))

    assert sniff.size_of(tmp_path / "x") in ((37, 21), (21, 37))


@pytest.mark.parametrize("name", OTHERS)
def test_other_media_are_known(name: str) -> None:
    content, kind = OTHERS[name]

    assert sniff.kind_of(content) == kind


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_no_media_is_not_taken_for_it(name: str) -> None:
    assert sniff.kind_of(NOTHING[name]) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\n <!DOCTYPE HTML><p>", True),
        (b"\xef\xbb\xbf<html lang=en>", True),
        (b"<!-- hello --><head>", True),
        (b"<svg/>", False),
        (b"<htmlx>", False),
    ],
)
def test_web_pages_are_known(content: bytes, expected: bool) -> None:
    assert sniff.is_html(content) is expected


@pytest.mark.parametrize("name", PICTURES)
def test_a_header_that_is_cut_or_damaged_has_no_size(name: str) -> None:
    content, kind = PICTURES[name]

    assert sniff.size_in(io.BytesIO(content[:9])) is None
    if kind is not sniff.GIF:  # whose size may be anything at all
        assert sniff.size_in(io.BytesIO(content[:6] + b"\xffjunk" * 20)) is None


def test_a_png_of_50000_by_50000_is_measured_without_decoding() -> None:
    header = (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50_000, 50_000) + b"\x08\x02\0\0\0"
    )

    assert sniff.size_in(io.BytesIO(header)) == (50_000, 50_000)


@given(st.binary(max_size=200), st.sampled_from([content for content, _ in PICTURES.values()]))
def test_no_bytes_make_it_raise(tail: bytes, head: bytes) -> None:
    for cut in (0, 4, 12, 24, 60):
        sniff.kind_of(head[:cut] + tail)
        sniff.size_in(io.BytesIO(head[:cut] + tail))


def test_comments_that_lead_nowhere_cost_no_time() -> None:
    head = b"<!---->" * 25 + b" " * 3000 + b"x"
    began = time.process_time()

    assert sniff.kind_of(head) is None
    assert not sniff.is_html(head)
    assert time.process_time() - began < 0.2
