"""Pictures that the command line sends: as they are, or brought to a size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pybase64

from gateway import graph
from gateway.cli import fetching
from gateway.cli.failure import CommandFailed

Crop = Literal["cover", "contain", "fill"]

_SIZE = re.compile(r"(\d{1,5})[xX×](\d{1,5})")
_LARGEST = 16384
_MOST_BYTES = 200 << 20
_FETCH_S = 300.0


@dataclass(frozen=True)
class Frame:
    """The size that a picture is brought to, and how."""

    width: int
    height: int
    crop: Crop = "cover"


def size(text: str) -> tuple[int, int]:
    """Return the width and height of a text such as 512x512; raises ValueError."""
    found = _SIZE.fullmatch(text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise ValueError(f"{text!r} is no size: WIDTHxHEIGHT, each from 1 to {_LARGEST}.")
    return width, height


async def content(source: str, frame: Frame | None) -> str:
    """Return what a request says of a picture: a URL, or base64; raises CommandFailed.

    A URL stays one unless the picture is to be resized: then it is fetched here.
    """
    if graph.is_url(source) and frame is None:
        return source
    data = await (_fetched(source) if graph.is_url(source) else asyncio.to_thread(_read, source))
    told = fetching.shown(source)
    _check(told, data)
    if frame is not None:
        data = await asyncio.to_thread(framed, told, data, frame)
    return pybase64.b64encode_as_string(data)


def _read(source: str) -> bytes:
    try:
        return Path(source).expanduser().read_bytes()
    except OSError as failure:
        raise CommandFailed(f"--input-image {source}: {failure.strerror}.") from None


async def _fetched(source: str) -> bytes:
    if not fetching.is_url(source):
        told = fetching.shown(source)
        raise CommandFailed(
            f"--resize needs the picture itself, and {told} cannot be fetched from here.",
            hint="Give a file or an http URL, or leave --resize out: then the gateway fetches it.",
        )
    try:
        return await fetching.fetched(source, _MOST_BYTES, _FETCH_S)
    except CommandFailed as failure:
        raise CommandFailed(f"--input-image {failure.message}") from None


def _check(source: str, data: bytes) -> None:
    from gateway.media import sniff

    kind = sniff.kind_of(data[: sniff.HEAD_BYTES])
    if kind is None or kind.family != "image":
        told = f"it is {kind.mime}" if kind else "its first bytes are those of no known type"
        raise CommandFailed(f"--input-image {source} is no picture: {told}.")


def framed(source: str, data: bytes, frame: Frame) -> bytes:
    """Return a picture, upright and in the size of the frame, as PNG; raises CommandFailed."""
    import pyvips

    try:
        image = _BY_CROP[frame.crop](pyvips, data, frame)
        made: bytes = image.write_to_buffer(".png", keep="icc")
    except pyvips.Error as failure:
        reason = " ".join(str(failure).split())[:200]
        raise CommandFailed(
            f"--input-image {source} cannot be read: {reason}.",
            hint="PNG, JPEG, WebP, GIF, TIFF, AVIF and HEIC can be resized.",
        ) from None
    return made


def _thumbnail(pyvips: Any, data: bytes, frame: Frame, **options: Any) -> Any:
    """Return the picture in the frame; turned as its EXIF says, and in sRGB."""
    # Not thumbnail_buffer: that one takes half a file for a whole one.
    image = pyvips.Image.new_from_buffer(data, "", fail_on="truncated")
    scaled = image.thumbnail_image(
        frame.width, height=frame.height, export_profile="srgb", **options
    )
    return scaled.colourspace("srgb")


def _covered(pyvips: Any, data: bytes, frame: Frame) -> Any:
    return _thumbnail(pyvips, data, frame, crop="centre")


def _filled(pyvips: Any, data: bytes, frame: Frame) -> Any:
    return _thumbnail(pyvips, data, frame, size="force")


def _contained(pyvips: Any, data: bytes, frame: Frame) -> Any:
    """Return the whole picture in the middle; what is left is black, or transparent."""
    image = _thumbnail(pyvips, data, frame)
    left, top = (frame.width - image.width) // 2, (frame.height - image.height) // 2
    return image.embed(left, top, frame.width, frame.height, extend="background", background=[0])


_BY_CROP: dict[str, Callable[[Any, bytes, Frame], Any]] = {
    "cover": _covered,
    "contain": _contained,
    "fill": _filled,
}
