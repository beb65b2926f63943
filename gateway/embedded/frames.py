"""Binary WebSocket frames: a 4-byte event type, what that event needs, then a picture."""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
JPEG = 1


def preview(picture: Image, longest_side: int) -> bytes:
    """Event 1: the image type and the picture."""
    return struct.pack(">II", PREVIEW_IMAGE, JPEG) + _jpeg(picture, longest_side)


def preview_with_metadata(picture: Image, longest_side: int, metadata: dict[str, Any]) -> bytes:
    """Event 4: the length of a JSON object, the object and the picture."""
    text = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
    head = struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(text))
    return head + text + _jpeg(picture, longest_side)


def _jpeg(picture: Image, longest_side: int) -> bytes:
    from PIL import Image, ImageOps

    size = (longest_side, longest_side)
    fitted = ImageOps.contain(picture, size, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    fitted.save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()
