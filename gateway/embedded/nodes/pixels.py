"""Pictures as arrays: [batch, height, width, channel], floats from 0 to 1, as in ComfyUI."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.float32]


def to_pillow(picture: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(255.0 * picture, 0, 255).astype(np.uint8))


def from_pillow(picture: Image.Image) -> Pixels:
    return np.asarray(picture).astype(np.float32) / np.float32(255.0)


def upscale(images: Pixels, width: int, height: int, method: str, crop: str) -> Pixels:
    """Resize as torch's interpolate does, which does not smooth when it shrinks."""
    if crop == "center":
        images = _crop_to_aspect(images, width, height)
    if method == "lanczos":
        return _lanczos(images, width, height)
    resize = _RESIZERS[method]
    return resize(resize(images, 1, height), 2, width)


def _crop_to_aspect(images: Pixels, width: int, height: int) -> Pixels:
    _, old_height, old_width, _ = images.shape
    old, new = old_width / old_height, width / height
    x = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    y = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    return images[:, y : old_height - y, x : old_width - x, :]


def _lanczos(images: Pixels, width: int, height: int) -> Pixels:
    resized = [to_pillow(p).resize((width, height), Image.Resampling.LANCZOS) for p in images]
    return np.stack([from_pillow(picture) for picture in resized])


def _nearest(images: Pixels, axis: int, size: int) -> Pixels:
    old = images.shape[axis]
    index = np.floor((np.arange(size) + 0.5) * (old / size)).astype(int)
    picked: Pixels = np.take(images, np.minimum(index, old - 1), axis=axis)
    return picked


def _bilinear(images: Pixels, axis: int, size: int) -> Pixels:
    old = images.shape[axis]
    at = np.maximum((np.arange(size) + 0.5) * (old / size) - 0.5, 0.0)
    low = np.floor(at).astype(int)
    return _blend(images, axis, low, ((0, 1.0 - (at - low)), (1, at - low)))


def _bicubic(images: Pixels, axis: int, size: int) -> Pixels:
    at = (np.arange(size) + 0.5) * (images.shape[axis] / size) - 0.5
    low = np.floor(at).astype(int)
    t = at - low
    taps = ((-1, _far(t + 1)), (0, _near(t)), (1, _near(1 - t)), (2, _far(2 - t)))
    return _blend(images, axis, low, taps)


def _near(x: npt.NDArray[Any], a: float = -0.75) -> npt.NDArray[Any]:
    weight: npt.NDArray[Any] = ((a + 2) * x - (a + 3)) * x * x + 1
    return weight


def _far(x: npt.NDArray[Any], a: float = -0.75) -> npt.NDArray[Any]:
    weight: npt.NDArray[Any] = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return weight


def _blend(
    images: Pixels,
    axis: int,
    low: npt.NDArray[Any],
    taps: tuple[tuple[int, npt.NDArray[Any]], ...],
) -> Pixels:
    shape = [1] * images.ndim
    shape[axis] = len(low)
    last = images.shape[axis] - 1
    parts = [
        np.take(images, np.clip(low + offset, 0, last), axis=axis)
        * weight.astype(np.float32).reshape(shape)
        for offset, weight in taps
    ]
    blended: Pixels = np.sum(parts, axis=0, dtype=np.float32)
    return blended


def _area(images: Pixels, axis: int, size: int) -> Pixels:
    """The mean of the pixels that each new one covers."""
    old = images.shape[axis]
    start = np.arange(size) * old // size
    end = -(-(np.arange(1, size + 1) * old) // size)
    edge = [(0, 0)] * images.ndim
    edge[axis] = (1, 0)
    sums = np.pad(np.cumsum(images, axis=axis, dtype=np.float64), edge)
    shape = [1] * images.ndim
    shape[axis] = size
    total = np.take(sums, end, axis=axis) - np.take(sums, start, axis=axis)
    mean: Pixels = (total / (end - start).reshape(shape)).astype(np.float32)
    return mean


_RESIZERS = {
    "nearest-exact": _nearest,
    "bilinear": _bilinear,
    "area": _area,
    "bicubic": _bicubic,
}
