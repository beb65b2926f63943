"""Nodes that read pictures from the input folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps, ImageSequence

from gateway.embedded.folders import Folders
from gateway.embedded.nodes.definition import Context, Node, Result
from gateway.embedded.nodes.pixels import Mask, Pixels, from_pillow

CHANNELS = ["alpha", "red", "green", "blue"]
NO_MASK = (64, 64)

A = TypeVar("A")
B = TypeVar("B")


def load_image(context: Context, image: str) -> Result:
    opened = forgiving(Image.open, context.folders.picture(image))
    frames: list[tuple[Pixels, Mask]] = []
    for frame in ImageSequence.Iterator(opened):
        upright = _as_eight_bit(forgiving(ImageOps.exif_transpose, frame))
        pixels = from_pillow(upright.convert("RGB"))
        if not frames or pixels.shape == frames[0][0].shape:
            frames.append((pixels, _mask(upright)))
    # The further pictures of an MPO are thumbnails and other exposures, not an animation.
    kept = frames[:1] if opened.format == "MPO" else frames
    return Result((np.stack([pixels for pixels, _ in kept]), np.stack([mask for _, mask in kept])))


def load_image_mask(context: Context, image: str, channel: str) -> Result:
    opened = forgiving(
        ImageOps.exif_transpose, forgiving(Image.open, context.folders.picture(image))
    )
    rgba = opened if opened.mode == "RGBA" else _as_eight_bit(opened).convert("RGBA")
    mask = from_pillow(rgba.getchannel(channel[0].upper()))
    return Result(((1.0 - mask if channel == "alpha" else mask)[None],))


def forgiving(act: Callable[[A], B], argument: A) -> B:
    """Try once more with Pillow's tolerance for truncated files, as ComfyUI does."""
    try:
        return act(argument)
    except (OSError, ValueError):
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            return act(argument)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _as_eight_bit(picture: Image.Image) -> Image.Image:
    return picture.point(lambda value: value * (1 / 255)) if picture.mode == "I" else picture


def _mask(picture: Image.Image) -> Mask:
    """What is transparent, as 1."""
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if "A" in picture.getbands():
        return np.float32(1.0) - from_pillow(picture.getchannel("A"))
    return np.zeros(NO_MASK, dtype=np.float32)


def problem_with_picture(folders: Folders, image: Any) -> str | None:
    if os.path.exists(folders.picture(image)):
        return None
    return f"Invalid image file: {image}"


def file_hash(folders: Folders, image: str, **_: Any) -> str:
    with open(folders.picture(image), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pictures(folders: Folders) -> list[str]:
    return folders.input_names(images_only=True)


def _all_files(folders: Folders) -> list[str]:
    return folders.input_names(images_only=False)


NODES = (
    Node(
        name="LoadImage",
        display_name="Load Image",
        category="image",
        required={"image": (_pictures, {"image_upload": True})},
        outputs=("IMAGE", "MASK"),
        checked_input="image",
        check=problem_with_picture,
        fingerprint=file_hash,
        run=load_image,
    ),
    Node(
        name="LoadImageMask",
        display_name="Load Image (as Mask)",
        category="mask",
        required={"image": (_all_files, {"image_upload": True}), "channel": (CHANNELS,)},
        outputs=("MASK",),
        checked_input="image",
        check=problem_with_picture,
        fingerprint=file_hash,
        run=load_image_mask,
    ),
)
