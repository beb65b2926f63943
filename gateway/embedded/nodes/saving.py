"""Nodes that write pictures to disk, with the graph that made them embedded."""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.embedded.nodes.definition import Context, Node, NodeFailure, Result, integer, number
from gateway.embedded.nodes.pixels import Pixels, to_pillow

HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
SAVE_DESCRIPTION = "Saves the input images to your ComfyUI output directory."
PREFIX_TOOLTIP = (
    "The prefix for the file to save. This may include formatting information such as "
    "%date:yyyy-MM-dd% or %Empty Latent Image.width% to include values from nodes."
)
# The letters of ComfyUI, where p comes twice and w not at all.
SUFFIX_LETTERS = "abcdefghijklmnopqrstupvxyz"
WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}
EXIF_MODEL, EXIF_MAKE = 0x0110, 0x010F


def save_image(context: Context, images: Pixels, filename_prefix: str = "ComfyUI") -> Result:
    return _save_pngs(context, images, str(context.folders.output), filename_prefix, "output")


def preview_image(context: Context, images: Pixels) -> Result:
    suffix = context.memory.setdefault(
        "suffix",
        "".join(random.choice(SUFFIX_LETTERS) for _ in range(5)),  # noqa: S311
    )
    prefix = f"ComfyUI_temp_{suffix}"
    return _save_pngs(context, images, str(context.folders.temp), prefix, "temp")


def _save_pngs(context: Context, images: Pixels, root: str, prefix: str, kind: str) -> Result:
    folder, name, counter, subfolder = save_path(prefix, root, images)
    saved = []
    for index, picture in enumerate(images):
        file = f"{name.replace('%batch_num%', str(index))}_{counter + index:05}_.png"
        to_pillow(picture).save(
            os.path.join(folder, file),
            pnginfo=_png_info(context),
            compress_level=4 if kind == "output" else 1,
        )
        saved.append({"filename": file, "subfolder": subfolder, "type": kind})
    return Result(ui={"images": saved})


def _png_info(context: Context) -> PngInfo | None:
    if not context.metadata:
        return None
    info = PngInfo()
    info.add_text("prompt", json.dumps(context.graph))
    for key, value in (context.extra_pnginfo or {}).items():
        info.add_text(key, json.dumps(value))
    return info


def save_animated_webp(  # noqa: PLR0913, PLR0917  (the inputs of the node)
    context: Context,
    images: Pixels,
    filename_prefix: str,
    fps: float,
    lossless: bool,
    quality: int,
    method: str,
) -> Result:
    folder, name, counter, subfolder = save_path(
        filename_prefix, str(context.folders.output), images
    )
    first, *rest = [to_pillow(picture) for picture in images]
    file = f"{name}_{counter:05}_.webp"
    first.save(
        os.path.join(folder, file),
        save_all=True,
        duration=int(1000.0 / fps),
        append_images=rest,
        exif=_exif(context, first),
        lossless=lossless,
        quality=quality,
        method=WEBP_METHODS[method],
    )
    saved = {"filename": file, "subfolder": subfolder, "type": "output"}
    return Result(ui={"images": [saved], "animated": [len(images) != 1]})


def _exif(context: Context, picture: Image.Image) -> Image.Exif:
    exif = picture.getexif()
    if context.metadata:
        exif[EXIF_MODEL] = f"prompt:{json.dumps(context.graph)}"
        for back, (key, value) in enumerate((context.extra_pnginfo or {}).items()):
            exif[EXIF_MAKE - back] = f"{key}:{json.dumps(value)}"
    return exif


def save_path(prefix: str, root: str, images: Pixels) -> tuple[str, str, int, str]:
    """The folder, the name in it, the first free counter, and the folder relative to the root."""
    normal = os.path.normpath(_fill_in(prefix, images))
    subfolder, name = os.path.split(normal)
    folder = os.path.join(root, subfolder)
    inside = os.path.commonpath((root, os.path.abspath(folder)))
    if inside != root:
        raise NodeFailure(
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {os.path.abspath(folder)}"
            f"\n         output_dir: {root}"
            f"\n         commonpath: {inside}"
        )
    os.makedirs(folder, exist_ok=True)
    return folder, name, _first_free(folder, name), subfolder


def _fill_in(prefix: str, images: Pixels) -> str:
    if "%" not in prefix:
        return prefix
    _, height, width, _ = images.shape
    now = time.localtime()
    values: dict[str, Any] = {
        "width": width,
        "height": height,
        "year": now.tm_year,
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    for key, value in values.items():
        prefix = prefix.replace(f"%{key}%", str(value))
    return prefix


def _first_free(folder: str, name: str) -> int:
    start = f"{name}_"
    taken = [
        _leading_number(entry[len(start) :])
        for entry in os.listdir(folder)
        if entry.startswith(start)
    ]
    return max(taken, default=0) + 1


def _leading_number(text: str) -> int:
    try:
        return int(text.split("_", maxsplit=1)[0])
    except ValueError:
        return 0


NODES = (
    Node(
        name="SaveImage",
        display_name="Save Image",
        category="image",
        description=SAVE_DESCRIPTION,
        required={
            "images": ("IMAGE", {"tooltip": "The images to save."}),
            "filename_prefix": ("STRING", {"default": "ComfyUI", "tooltip": PREFIX_TOOLTIP}),
        },
        hidden=HIDDEN,
        is_output=True,
        run=save_image,
    ),
    Node(
        name="PreviewImage",
        display_name="Preview Image",
        category="image",
        description=SAVE_DESCRIPTION,
        required={"images": ("IMAGE",)},
        hidden=HIDDEN,
        is_output=True,
        run=preview_image,
    ),
    Node(
        name="SaveAnimatedWEBP",
        display_name="SaveAnimatedWEBP",
        category="image/animation",
        module="comfy_extras.nodes_images",
        required={
            "images": ("IMAGE",),
            "filename_prefix": ("STRING", {"default": "ComfyUI"}),
            "fps": number(6.0, 0.01, 1000.0, 0.01),
            "lossless": ("BOOLEAN", {"default": True}),
            "quality": integer(80, 0, 100),
            "method": (list(WEBP_METHODS),),
        },
        hidden=HIDDEN,
        is_output=True,
        run=save_animated_webp,
    ),
)
