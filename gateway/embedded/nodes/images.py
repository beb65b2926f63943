"""Nodes that make and change pictures in memory."""

from __future__ import annotations

import numpy as np

from gateway.embedded.nodes.definition import Context, Node, Result, integer, number
from gateway.embedded.nodes.pixels import Mask, Pixels, upscale

MAX_SIDE = 16384
METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]


def empty_image(
    context: Context, width: int, height: int, batch_size: int = 1, color: int = 0
) -> Result:
    rgb = [((color >> shift) & 0xFF) / 0xFF for shift in (16, 8, 0)]
    return Result((np.full((batch_size, height, width, 3), rgb, dtype=np.float32),))


def image_scale(
    context: Context, image: Pixels, upscale_method: str, width: int, height: int, crop: str
) -> Result:
    _, old_height, old_width, _ = image.shape
    if width == 0 and height == 0:
        return Result((image,))
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    return Result((upscale(image, width, height, upscale_method, crop),))


def image_scale_by(context: Context, image: Pixels, upscale_method: str, scale_by: float) -> Result:
    _, height, width, _ = image.shape
    size = (round(width * scale_by), round(height * scale_by))
    return Result((upscale(image, *size, upscale_method, "disabled"),))


def image_invert(context: Context, image: Pixels) -> Result:
    return Result((np.float32(1.0) - image,))


def image_batch(context: Context, image1: Pixels, image2: Pixels) -> Result:
    if image1.shape[1:] != image2.shape[1:]:
        _, height, width, _ = image1.shape
        image2 = upscale(image2, width, height, "bilinear", "center")
    return Result((np.concatenate((image1, image2)),))


def image_crop(context: Context, image: Pixels, width: int, height: int, x: int, y: int) -> Result:
    x = min(x, image.shape[2] - 1)
    y = min(y, image.shape[1] - 1)
    return Result((image[:, y : y + height, x : x + width, :],))


def pad_for_outpaint(  # noqa: PLR0913, PLR0917  (the inputs of the node)
    context: Context,
    image: Pixels,
    left: int,
    top: int,
    right: int,
    bottom: int,
    feathering: int,
) -> Result:
    batch, height, width, channels = image.shape
    size = (height + top + bottom, width + left + right)
    padded = np.full((batch, *size, channels), 0.5, dtype=np.float32)
    padded[:, top : top + height, left : left + width] = image
    mask = np.ones(size, dtype=np.float32)
    mask[top : top + height, left : left + width] = _feather(
        height, width, (left, top, right, bottom), feathering
    )
    return Result((padded, mask[None]))


def _feather(height: int, width: int, padding: tuple[int, int, int, int], feathering: int) -> Mask:
    """Rise from 0 to 1 over `feathering` pixels towards each edge that was padded."""
    if feathering <= 0 or feathering * 2 >= height or feathering * 2 >= width:
        return np.zeros((height, width), dtype=np.float32)
    left, top, right, bottom = padding
    rows, columns = np.arange(height), np.arange(width)
    far_row, far_column = np.full(height, height), np.full(width, width)
    vertical = np.minimum(rows if top else far_row, height - rows if bottom else far_row)
    horizontal = np.minimum(
        columns if left else far_column, width - columns if right else far_column
    )
    distance = np.minimum(vertical[:, None], horizontal[None, :])
    rise: Mask = np.clip((feathering - distance) / feathering, 0.0, None).astype(np.float32)
    return rise * rise


def _size(default: int, lowest: int) -> tuple[object, ...]:
    return integer(default, lowest, MAX_SIDE, step=1)


def _padding() -> tuple[object, ...]:
    return integer(0, 0, MAX_SIDE, step=8)


NODES = (
    Node(
        name="EmptyImage",
        display_name="EmptyImage",
        category="image",
        required={
            "width": _size(512, 1),
            "height": _size(512, 1),
            "batch_size": integer(1, 1, 4096),
            "color": integer(0, 0, 0xFFFFFF, step=1, display="color"),
        },
        outputs=("IMAGE",),
        run=empty_image,
    ),
    Node(
        name="ImageScale",
        display_name="Upscale Image",
        category="image/upscaling",
        required={
            "image": ("IMAGE",),
            "upscale_method": (METHODS,),
            "width": _size(512, 0),
            "height": _size(512, 0),
            "crop": (["disabled", "center"],),
        },
        outputs=("IMAGE",),
        run=image_scale,
    ),
    Node(
        name="ImageScaleBy",
        display_name="Upscale Image By",
        category="image/upscaling",
        required={
            "image": ("IMAGE",),
            "upscale_method": (METHODS,),
            "scale_by": number(1.0, 0.01, 8.0, 0.01),
        },
        outputs=("IMAGE",),
        run=image_scale_by,
    ),
    Node(
        name="ImageInvert",
        display_name="Invert Image",
        category="image",
        required={"image": ("IMAGE",)},
        outputs=("IMAGE",),
        run=image_invert,
    ),
    Node(
        name="ImageBatch",
        display_name="Batch Images",
        category="image",
        required={"image1": ("IMAGE",), "image2": ("IMAGE",)},
        outputs=("IMAGE",),
        run=image_batch,
    ),
    Node(
        name="ImageCrop",
        display_name="Image Crop",
        category="image/transform",
        module="comfy_extras.nodes_images",
        required={
            "image": ("IMAGE",),
            "width": _size(512, 1),
            "height": _size(512, 1),
            "x": _size(0, 0),
            "y": _size(0, 0),
        },
        outputs=("IMAGE",),
        run=image_crop,
    ),
    Node(
        name="ImagePadForOutpaint",
        display_name="Pad Image for Outpainting",
        category="image",
        required={
            "image": ("IMAGE",),
            "left": _padding(),
            "top": _padding(),
            "right": _padding(),
            "bottom": _padding(),
            "feathering": _size(40, 0),
        },
        outputs=("IMAGE", "MASK"),
        run=pad_for_outpaint,
    ),
)
