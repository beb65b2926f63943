"""The workflow embedded in what ComfyUI and its custom nodes save."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.media import embedded
from gateway.media.embedded import Found, workflow_in, workflow_of
from tests import embedding
from tests.embedding import FORMATS

PROMPT = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": 'é "日本" {}\\ \n'}}}
WORKFLOW = {"nodes": [{"id": 1, "type": "SaveImage"}], "links": [], "note": "x" * 700}
TEXTS = {"prompt": json.dumps(PROMPT), "workflow": json.dumps(WORKFLOW)}
BOTH = Found(PROMPT, WORKFLOW)


@pytest.mark.parametrize("name", FORMATS)
def test_both_are_found(name: str, tmp_path: Path) -> None:
    data = FORMATS[name](TEXTS)
    (tmp_path / "file").write_bytes(data)
    assert workflow_of(data) == BOTH
    assert workflow_in(tmp_path / "file") == BOTH
    assert BOTH.best == PROMPT


@pytest.mark.parametrize("name", FORMATS)
def test_one_is_enough(name: str) -> None:
    found = workflow_of(FORMATS[name]({"workflow": TEXTS["workflow"]}))
    assert found == Found(None, WORKFLOW)
    assert found.best == WORKFLOW
    assert workflow_of(FORMATS[name]({"prompt": TEXTS["prompt"]})) == Found(PROMPT, None)


@pytest.mark.parametrize("name", FORMATS)
def test_neither(name: str) -> None:
    assert workflow_of(FORMATS[name]({})) is None


@pytest.mark.parametrize("name", ["png_international", "webp", "mp4", "flac", "webm", "mp3"])
def test_characters_that_are_not_escaped(name: str) -> None:
    told = {"prompt": json.dumps(PROMPT, ensure_ascii=False)}
    assert workflow_of(FORMATS[name](told)) == Found(PROMPT, None)


def test_latin_characters_of_a_png() -> None:
    found = workflow_of(embedding.png({"prompt": "{}"}).replace(b"{}", b'{"\xe9": 1}', 1))
    assert found is None  # The length does not fit any more.
    chunk = b'prompt\0{"\xe9": 1}'
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", len(chunk), b"tEXt") + chunk + b"\0" * 4
    assert workflow_of(data) == Found({"é": 1}, None)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ('{"1": {"is_changed": [NaN], "x": -Infinity}}', {"1": {"is_changed": [None], "x": None}}),
        (' {"1": 1e999}', {"1": None}),
        ("{", None),
        ("{}", None),
        ("[1]", None),
        ("a cat on a mat", None),
        ('{"a":' * 100_000, None),
        ('{"1": "\\ud800"}', {"1": "\ufffd"}),
    ],
)
def test_json_as_it_comes(text: str, prompt: Any) -> None:
    found = workflow_of(embedding.png({"prompt": text}))
    assert found == (None if prompt is None else Found(prompt, None))


def test_a_graph_that_is_none_leaves_the_canvas() -> None:
    found = workflow_of(embedding.png({"prompt": "{", "workflow": TEXTS["workflow"]}))
    assert found == Found(None, WORKFLOW)
    found = workflow_of(embedding.webp({"prompt": "a cat", "workflow": TEXTS["workflow"]}))
    assert found == Found(None, WORKFLOW)


def test_a_prompt_that_is_no_graph_hides_no_canvas() -> None:
    other = {"text": "a cat"}
    assert Found(other, WORKFLOW).best == WORKFLOW
    assert Found(PROMPT, WORKFLOW).best == PROMPT
    assert Found(other, None).best == other


def test_what_conversions_carry_is_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(embedding.apng({"workflow": '{"a":  NaN}'}))
    assert embedded.texts_in(file) == {"workflow": '{"a":  NaN}'}
    file.write_bytes(embedding.jpeg_comment(TEXTS))
    assert embedded.texts_in(file)["prompt"] == TEXTS["prompt"]
    assert json.loads(embedded.texts_in(file)["workflow"]) == WORKFLOW


@pytest.mark.parametrize("data", [b"", b"{}", b"GIF89a" + b"\0" * 40, b"\x89PNG\r\n\x1a\n", b"ID3"])
def test_what_holds_nothing(data: bytes) -> None:
    assert workflow_of(data) is None


def test_what_is_no_file(tmp_path: Path) -> None:
    assert workflow_in(tmp_path) is None
    assert workflow_in(tmp_path / "none.png") is None
    assert embedded.texts_in(tmp_path / "none.png") == {}


def test_a_film_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    size = 6 << 30
    film = embedding.mp4(TEXTS)
    at = film.index(b"mdat") - 4
    head, moov = film[:at], film[at + 48 :]
    with (tmp_path / "a.mp4").open("wb") as file:
        file.write(head + struct.pack(">I4sQ", 1, b"mdat", size))
        file.seek(at + size)
        file.write(moov)
    assert (tmp_path / "a.mp4").stat().st_size > size
    assert workflow_in(tmp_path / "a.mp4") == BOTH


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), name) + data + b"\0" * 4


def _png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _webp(block: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", len(block)) + block


FTYP = b"\0\0\0\x10ftypisom\0\0\0\0"
EBML = b"\x1a\x45\xdf\xa3\x80"
ENDLESS = b"\x01\xff\xff\xff\xff\xff\xff\xff"
HOSTILE = {
    "a bomb": _png(_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"{" * (40 << 20), 9))),
    "many bombs": _png(_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b" " * (7 << 20))) * 50),
    "empty chunks": _png(_chunk(b"IDAT", b"") * 400_000),
    "a chunk to nowhere": _png(struct.pack(">I4s", 2**32 - 1, b"tEXt") + b"prompt\0{"),
    "entries that share a place": _webp(
        b"MM\0*\0\0\0\x08\1\xf4" + struct.pack(">HHII", 1, 2, 2**31, 8) * 500 + b"x" * (4 << 20)
    ),
    "a directory of itself": _webp(
        b"MM\0*\0\0\0\x08\1\xf4" + struct.pack(">HHII", 0x8769, 4, 1, 8) * 500
    ),
    "boxes of no size": FTYP + b"\0\0\0\0moov\0\0\0\0udta\0\0\0\0meta\0\0\0\0\0\0\0\0ilst" * 1000,
    "boxes of one size": FTYP + b"\0\0\0\x08free" * 400_000,
    "boxes of a negative size": FTYP + b"\0\0\0\1moov" + b"\xff" * 8 + b"\0\0\0\7udta",
    "comments without end": b"fLaC\x84\xff\xff\xff" + b"\0" * 4 + b"\xff" * 4 + b"\0" * (1 << 24),
    "pages of nothing": (b"OggS" + b"\0" * 22 + b"\xff" + b"\0" * 255) * 10_000,
    "frames of nothing": b"ID3\3\0\0\x7f\x7f\x7f\x7f" + b"TXXX\0\0\0\1\0\0\0" * 400_000,
    "a name without end": b"ID3\3\0\0\7\x7f\x7f\x7fTXXX\3\0\0\0\0\0\1" + b"\0a" * 4_000_000,
    "elements of nothing": EBML + b"\x18\x53\x80\x67" + ENDLESS + b"\xec\x80" * 400_000,
    "elements without end": EBML + (b"\x18\x53\x80\x67" + ENDLESS) * 100_000,
    "fillers": b"\xff\xd8\xff" + b"\xff" * 4_000_000,
    "segments of no length": b"\xff\xd8" + b"\xff\xe0\0\0" * 400_000,
    "tags that never end": b"<svg ><metadata>" + b"<metadata><![CDATA[" * 400_000,
    "brackets": b"glTF" + b"\0" * 8 + struct.pack("<I", 4 << 20) + b"JSON" + b"[" * (4 << 20),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", HOSTILE)
def test_sizes_that_lie(name: str) -> None:
    assert workflow_of(HOSTILE[name]) is None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([build(TEXTS) for build in FORMATS.values()]),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=6),
    st.integers(0),
)
def test_damaged_files_are_answered(data: bytes, damage: list[tuple[int, int]], cut: int) -> None:
    broken = bytearray(data)
    for at, value in damage:
        broken[at % len(broken)] = value
    for each in (bytes(broken), bytes(broken[: cut % len(broken)])):
        found = workflow_of(each)
        assert found is None or found.best


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([build(TEXTS)[:12] for build in FORMATS.values()]), st.binary(max_size=300))
def test_any_bytes_are_answered(head: bytes, data: bytes) -> None:
    assert workflow_of(head + data) is None
    assert workflow_of(data) is None


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([build(TEXTS) for build in FORMATS.values()]),
    st.integers(0),
    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\xff" * 8]),
)
def test_any_size_may_lie(data: bytes, at: int, size: bytes) -> None:
    at %= len(data)
    found = workflow_of(data[:at] + size + data[at + len(size) :])
    assert found is None or found.best
