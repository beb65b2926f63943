"""What a file is, told from its first bytes, and how large its picture is."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import imagesize

#: Bytes of a file's beginning that `kind_of` wants to see.
HEAD_BYTES = 4096


@dataclass(frozen=True)
class MediaType:
    """A type of file; `extension` with its dot."""

    mime: str
    extension: str

    @property
    def family(self) -> str:
        """image, audio, video or model."""
        return self.mime.partition("/")[0]


PNG = MediaType("image/png", ".png")
JPEG = MediaType("image/jpeg", ".jpg")
WEBP = MediaType("image/webp", ".webp")
GIF = MediaType("image/gif", ".gif")
BMP = MediaType("image/bmp", ".bmp")
TIFF = MediaType("image/tiff", ".tiff")
AVIF = MediaType("image/avif", ".avif")
HEIC = MediaType("image/heic", ".heic")
JXL = MediaType("image/jxl", ".jxl")
EXR = MediaType("image/x-exr", ".exr")
HDR = MediaType("image/vnd.radiance", ".hdr")
SVG = MediaType("image/svg+xml", ".svg")
MP4 = MediaType("video/mp4", ".mp4")
MOV = MediaType("video/quicktime", ".mov")
WEBM = MediaType("video/webm", ".webm")
MKV = MediaType("video/x-matroska", ".mkv")
AVI = MediaType("video/x-msvideo", ".avi")
FLV = MediaType("video/x-flv", ".flv")
MP3 = MediaType("audio/mpeg", ".mp3")
WAV = MediaType("audio/wav", ".wav")
FLAC = MediaType("audio/flac", ".flac")
OGG = MediaType("audio/ogg", ".ogg")
OPUS = MediaType("audio/ogg", ".opus")
OGV = MediaType("video/ogg", ".ogv")
M4A = MediaType("audio/mp4", ".m4a")
AAC = MediaType("audio/aac", ".aac")
GLB = MediaType("model/gltf-binary", ".glb")

_PREFIXES: tuple[tuple[bytes, MediaType], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", JXL),
    (b"\x76\x2f\x31\x01", EXR),
    (b"#?RADIANCE", HDR),
    (b"#?RGBE", HDR),
    (b"FLV\x01", FLV),
    (b"ID3", MP3),
    (b"fLaC", FLAC),
    (b"glTF", GLB),
)
_RIFF = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
_BRANDS: dict[bytes, MediaType] = {
    b"avif": AVIF,
    b"avis": AVIF,
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), HEIC),
    b"qt  ": MOV,
    b"M4A ": M4A,
    b"M4B ": M4A,
}
_STILL_BRANDS = (b"mif1", b"msf1")
# Possessive: else comment after comment, which anyone may send, costs exponential time.
_BEFORE = rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:(?><!--.*?-->)\s*+)*+"
_SVG = re.compile(_BEFORE + rb"(?:<!DOCTYPE svg[^>]*+>\s*+)?+<svg[\s>]", re.S)
_HTML = re.compile(_BEFORE + rb"<(?:!doctype html|html|head|body)\b", re.I | re.S)


def kind_of(head: bytes) -> MediaType | None:
    """Return the type of a file that begins with `head`, or None when it is none of ours."""
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    for told in (_riff, _boxes, _matroska, _ogg, _bmp, _frames, _svg):
        found = told(head)
        if found is not None:
            return found
    return None


def is_html(head: bytes) -> bool:
    """Whether a file is a web page."""
    return _HTML.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def _riff(head: bytes) -> MediaType | None:
    return _RIFF.get(head[8:12]) if head[:4] in (b"RIFF", b"RF64") else None


def _boxes(head: bytes) -> MediaType | None:
    """ISO base media: the brand in `ftyp`, and where that is a general one, its companions."""
    if head[4:8] != b"ftyp":
        return MOV if head[4:8] in (b"moov", b"mdat", b"wide") else None
    end = min(int.from_bytes(head[:4], "big"), len(head), 256)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] in _STILL_BRANDS:
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), HEIC)
    return _BRANDS.get(brands[0], MP4)


def _matroska(head: bytes) -> MediaType | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return WEBM if b"webm" in head[:64] else MKV


def _ogg(head: bytes) -> MediaType | None:
    if not head.startswith(b"OggS"):
        return None
    if b"OpusHead" in head[:64]:
        return OPUS
    return OGV if b"\x80theora" in head[:64] else OGG


def _bmp(head: bytes) -> MediaType | None:
    # Two letters are no proof: the size of the info header must be one of those that exist.
    sizes = (12, 16, 40, 52, 56, 64, 108, 124)
    is_bmp = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in sizes
    return BMP if is_bmp else None


def _frames(head: bytes) -> MediaType | None:
    """MPEG audio without a tag: a sync word, and no reserved value behind it."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return AAC
    # Layers II and III alone: layer I is as good as extinct, and UTF-16 begins like it.
    is_layer = head[1] & 0x18 != 0x08 and head[1] & 0x06 in (0x02, 0x04)
    is_rate = head[2] & 0xF0 not in (0x00, 0xF0) and head[2] & 0x0C != 0x0C
    return MP3 if is_layer and is_rate else None


def _svg(head: bytes) -> MediaType | None:
    return SVG if _SVG.match(head.removeprefix(b"\xef\xbb\xbf")) else None


def size_of(path: Path) -> tuple[int, int] | None:
    """Return (width, height) of a picture as its header says; None when that cannot be told."""
    with path.open("rb") as file:
        return size_in(file)


def size_in(file: BinaryIO) -> tuple[int, int] | None:
    """Return (width, height) of the picture in `file`, which is read from its beginning."""
    head = file.read(HEAD_BYTES)
    kind = kind_of(head)
    if kind is None or kind.family != "image":
        return None
    file.seek(0)
    try:
        found = _OWN[kind](head) if kind in _OWN else imagesize.get(file)
        if kind in (AVIF, HEIC) and found[0] <= 0:
            found = _heif_size(head)
    except (ValueError, struct.error, LookupError, OSError):
        return None
    width, height = int(found[0]), int(found[1])
    return (width, height) if width > 0 and height > 0 else None


def size_of_bytes(head: bytes) -> tuple[int, int] | None:
    """Return (width, height) as `size_of` does, from a file's beginning."""
    return size_in(io.BytesIO(head))


def _heif_size(head: bytes) -> tuple[int, int]:
    # imagesize gives up on a rotation beside EXIF; of a grid's tiles and whole, this is the whole.
    found = [struct.unpack(">II", size) for size in re.findall(rb"ispe.{4}(.{8})", head, re.S)]
    return max(found, default=(-1, -1))


def _exr_size(head: bytes) -> tuple[int, int]:
    at = head.index(b"dataWindow\x00box2i\x00") + 21
    left, top, right, bottom = struct.unpack_from("<4i", head, at)
    return right - left + 1, bottom - top + 1


def _hdr_size(head: bytes) -> tuple[int, int]:
    found = re.search(rb"\n([-+])([XY]) (\d{1,9}) [-+][XY] (\d{1,9})\n", head)
    if found is None:
        return -1, -1
    first, second = int(found[3]), int(found[4])
    return (second, first) if found[2] == b"Y" else (first, second)


#: Pictures whose size is not told from the header.
SIZELESS = (SVG, JXL)


def _untold(_: bytes) -> tuple[int, int]:
    # An SVG is read as a whole to know its size, and no node takes one as a picture.
    return -1, -1


_OWN: dict[MediaType, Callable[[bytes], tuple[int, int]]] = {
    EXR: _exr_size,
    HDR: _hdr_size,
    **dict.fromkeys(SIZELESS, _untold),
}
