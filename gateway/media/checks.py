"""What a file must be before ComfyUI may read it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gateway import errors
from gateway.media import sniff
from gateway.storage import address
from gateway.storage.transfer import Arrival

_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}")
_PICTURES_ONLY = ("image", "directory")
#: Inputs that take any file, so that its name must do where its bytes do not tell.
_ANY = ("file", "")
_MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The largest input: bytes, decoded or fetched, and pixels."""

    input_bytes: int
    pixels: int

    def too_large(self, size: int) -> errors.InputTooLarge:
        """Return the refusal of `size` bytes."""
        return errors.InputTooLarge(
            f"The input is {size / _MB:,.1f} MB; MAX_INPUT_MB is {self.input_bytes / _MB:,.0f}."
        )

    def unknown(self, head: bytes) -> errors.InvalidInput:
        """Return the refusal of bytes of no known type."""
        return errors.InvalidInput(
            f"The input is of no known type: {_described(head)}.",
            hint="Pictures, sound, video and GLB models are known by their first bytes.",
        )


def check_pixels(path: Path, kind: sniff.MediaType, limits: Limits) -> None:
    """Refuse a picture that is too large to decode, or that has no readable header.

    Raises TooManyPixels, InvalidInput, OSError. Only the header is read.
    """
    if kind.family != "image" or kind in sniff.SIZELESS:
        return
    size = sniff.size_of(path)
    if size is None:
        raise errors.InvalidInput(
            f"The input begins as {kind.mime} does, and its header cannot be read: "
            "it is damaged or not a picture."
        )
    width, height = size
    if width * height > limits.pixels:
        raise errors.TooManyPixels(
            f"The picture is {width} x {height} pixels, {width * height:,} in all; "
            f"MAX_PIXELS is {limits.pixels:,}.",
            width=width,
            height=height,
        )


def check_family(kind: sniff.MediaType, field: str, url: str | None = None) -> None:
    """Raise InvalidInput for sound or video where the input `field` takes a picture."""
    if field in _PICTURES_ONLY and kind.family != "image":
        raise errors.InvalidInput(
            f"{url or 'The value'} is no picture: it is {kind.mime}.",
            hint="Send a picture, or give it to an input that takes sound or video.",
            url=url,
        )


def check_arrival(path: Path, arrival: Arrival, field: str, limits: Limits) -> str:
    """Return the extension of a fetched file; `field` is the input that wants it.

    Raises InvalidInput, TooManyPixels, OSError.
    """
    kind = sniff.kind_of(arrival.head)
    url = address.shown(arrival.url)
    if kind is None:
        return _untold(arrival, field, url)
    check_family(kind, field, url)
    check_pixels(path, kind, limits)
    return kind.extension


def _untold(arrival: Arrival, field: str, url: str) -> str:
    if sniff.is_html(arrival.head):
        raise errors.InvalidInput(
            f"{url} is a web page (HTML), not a file that {field or 'a node'} can take.",
            hint="Give the address of the file itself; a page often means that a login is needed.",
            url=url,
        )
    path = arrival.filename or urlsplit(arrival.url).path
    extension = PurePosixPath(path).suffix.lower()
    if arrival.size and field in _ANY and _EXTENSION.fullmatch(extension):
        return extension
    raise errors.InvalidInput(
        f"{url} is of no known type: {_described(arrival.head)}.",
        hint="Pictures, sound, video and GLB models are known by their first bytes.",
        url=url,
    )


def _described(head: bytes) -> str:
    if not head:
        return "it is empty"
    if sniff.is_html(head):
        return "it is a web page (HTML)"
    return f"it begins with {head[:12].hex(' ')}"
