"""Options of `convert_output`: names, defaults and ranges of `wire/prompt.md`.

PNG and AVIF follow the same naming. `keep_metadata` is common to all.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class PictureOptions(BaseModel):
    """What every format knows."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    keep_metadata: bool = Field(
        True,
        alias="keep_metadata",
        description="The workflow embedded in the picture goes along where the format holds it.",
    )


class JpegOptions(PictureOptions):
    """Options of jpeg (and jpg)."""

    quality: int = Field(80, ge=1, le=100)
    progressive: bool = False
    chroma_subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0"
    optimize_coding: bool = True
    mozjpeg: bool = Field(False, description="Trellis, overshoot, scans and table 3, all at once.")
    trellis_quantisation: bool = False
    overshoot_deringing: bool = False
    optimize_scans: bool = Field(False, description="Implies progressive.")
    quantisation_table: int = Field(0, ge=0, le=8)


class WebpOptions(PictureOptions):
    """Options of webp."""

    quality: int = Field(80, ge=1, le=100)
    alpha_quality: int = Field(100, ge=0, le=100)
    lossless: bool = False
    near_lossless: bool = False
    smart_subsample: bool = False
    preset: Literal["default", "picture", "photo", "drawing", "icon", "text"] = "default"
    effort: int = Field(4, ge=0, le=6)


class PngOptions(PictureOptions):
    """Options of png."""

    compression_level: int = Field(6, ge=0, le=9)
    progressive: bool = False
    palette: bool = Field(False, description="At most 256 colours, chosen to fit.")
    quality: int = Field(100, ge=0, le=100, description="Of the palette.")
    effort: int = Field(7, ge=1, le=10, description="Of the palette.")
    dither: float = Field(1.0, ge=0, le=1, description="Of the palette.")


class AvifOptions(PictureOptions):
    """Options of avif."""

    quality: int = Field(50, ge=1, le=100)
    lossless: bool = False
    effort: int = Field(4, ge=0, le=9)
    chroma_subsampling: Literal["4:2:0", "4:4:4"] = "4:4:4"


Options = JpegOptions | WebpOptions | PngOptions | AvifOptions

BY_FORMAT: dict[str, type[JpegOptions | WebpOptions | PngOptions | AvifOptions]] = {
    "jpeg": JpegOptions,
    "jpg": JpegOptions,
    "webp": WebpOptions,
    "png": PngOptions,
    "avif": AvifOptions,
}


def parse(form: str, options: dict[str, Any]) -> Options:
    """Return the options of a format; raises pydantic's ValidationError."""
    return BY_FORMAT[form].model_validate(options)
