"""Pictures in the format the caller asked for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.media import embedded, metadata, options, savers, sniff
from gateway.schemas import ConvertOutput

#: Pictures converted at a time: each may hold some hundred megabytes of pixels.
AT_ONCE = 2
_LOADERS = {
    sniff.PNG: "pngload",
    sniff.JPEG: "jpegload",
    sniff.WEBP: "webpload",
    sniff.GIF: "gifload",
    sniff.TIFF: "tiffload",
    sniff.AVIF: "heifload",
    sniff.HEIC: "heifload",
}
_ANIMATED = (sniff.WEBP, sniff.GIF)
_DEEP = ("rgb16", "grey16")
_REASON = 200


@dataclass(frozen=True)
class Converted:
    """A picture in its new format, and what there is to say about it."""

    path: Path
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """The file stays as it was saved; `reason` is None when nothing went wrong."""

    reason: str | None = None


class _Unconvertible(Exception):
    """This picture cannot be converted; the message says why."""


async def convert(path: Path, spec: ConvertOutput, into: Path) -> Converted | Kept:
    """Write a picture in another format to `into`; the file itself is never touched.

    What is not a picture is kept without a word; a conversion that fails is kept with a reason.
    """
    stopped = threading.Event()
    try:
        return await asyncio.get_running_loop().run_in_executor(
            _pool(), _converted, path, spec, into, stopped
        )
    finally:
        # A cancelled caller leaves the thread behind: it must not bring the file any more.
        stopped.set()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="convert")


@cache
def _vips() -> Any:
    import pyvips

    # Every picture is another: what libvips would remember is never asked for again.
    pyvips.cache_set_max(0)
    return pyvips


def _converted(
    path: Path, spec: ConvertOutput, into: Path, stopped: threading.Event
) -> Converted | Kept:
    try:
        with path.open("rb") as file:
            kind = sniff.kind_of(file.read(sniff.HEAD_BYTES))
        if kind is None or kind.family != "image" or kind in sniff.SIZELESS:
            return Kept()
        return _written(path, kind, spec, into, stopped)
    except (_vips().Error, _Unconvertible, ValidationError, OSError, ValueError) as failure:
        why = " ".join(str(failure).split())[:_REASON]
        return Kept(
            f"{path.name} could not be converted to {spec.format} and is returned as it was "
            f"saved: {why}"
        )


def _written(
    path: Path, kind: sniff.MediaType, spec: ConvertOutput, into: Path, stopped: threading.Event
) -> Converted:
    wish = options.parse(spec.format, spec.options)
    form = "jpeg" if spec.format == "jpg" else spec.format
    image, warnings = _prepared(_opened(path, kind, form), form)
    late = b""
    if wish.keep_metadata:
        late, lost = _with_metadata(path, image, form)
        warnings += [f"{path.name}: the {key} is too large for the {form}." for key in lost]
    operation, arguments = savers.saver(wish)
    keep = "all" if wish.keep_metadata else "icc"
    into.parent.mkdir(parents=True, exist_ok=True)
    beside = into.with_name(f".fetch-{uuid.uuid4().hex}.part")
    try:
        getattr(image, operation)(str(beside), keep=keep, **arguments)
        if late:
            metadata.into_webp(beside, late)
        if not stopped.is_set():
            beside.replace(into)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    return Converted(into, tuple(warnings))


def _opened(path: Path, kind: sniff.MediaType, form: str) -> Any:
    """Open by the type's own loader: no name of a file can choose another, or bring options."""
    loader = _LOADERS.get(kind)
    if loader is None:
        raise _Unconvertible(f"{kind.mime} cannot be read.")
    frames = {"n": -1} if form == "webp" and kind in _ANIMATED else {}
    load = getattr(_vips().Image, loader)
    return load(str(path), access="sequential", fail_on="truncated", **frames)


def _prepared(image: Any, form: str) -> tuple[Any, list[str]]:
    warnings = []
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 and form != "webp":
        warnings.append(f"A {form} holds one picture: the first of {pages} frames was taken.")
    if form != "png" and image.interpretation in _DEEP:
        image = image.colourspace("srgb" if image.bands > 2 else "b-w")
    if form == "jpeg" and image.hasalpha():
        image = image.flatten(background=[255])
    return image.copy(), warnings


def _with_metadata(path: Path, image: Any, form: str) -> tuple[bytes, list[str]]:
    texts = embedded.texts_in(path)
    if not texts:
        return b"", []
    if image.get_typeof("exif-data"):
        # It holds the same once more, or it is too long for libexif to copy unharmed.
        image.remove("exif-data")
    return metadata.attach(image, texts, form, _vips().GValue.gstr_type)
