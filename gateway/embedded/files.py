"""HTTP routes for pictures: viewing, uploading, and the metadata of weights."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import mimetypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import web

from gateway.embedded.engine import Engine
from gateway.embedded.nodes.weights import WeightsFailure, read_header

# Shown by a browser these could run scripts, so they are only ever downloaded.
NEVER_SHOWN = frozenset(
    {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}
)
UNKNOWN_TYPE = "application/octet-stream"
PREVIEW_FORMATS = ("webp", "jpeg")


class FileRoutes:
    """Handlers; decoding and encoding happen in threads."""

    def __init__(self, engine: Engine) -> None:
        self._folders = engine.folders

    def table(self) -> list[web.RouteDef]:
        return [
            web.get("/view", self.view),
            web.get("/view_metadata/{folder}", self.view_metadata),
            web.post("/upload/image", self.upload_image),
            web.post("/upload/mask", self.upload_mask),
        ]

    async def view(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if "filename" not in query:
            return web.Response(status=404)
        path = self._locate(query["filename"], query.get("type", "output"), query.get("subfolder"))
        if isinstance(path, int):
            return web.Response(status=path)
        if not path.is_file():
            return web.Response(status=404)
        disposition = {"Content-Disposition": f'filename="{path.name}"'}
        channel = query.get("channel", "rgba")
        if "preview" in query:
            body, kind = await asyncio.to_thread(
                _as_preview, path, query["preview"], query.get("channel", "")
            )
        elif channel in _CHANNELS:
            body, kind = await asyncio.to_thread(_CHANNELS[channel], path), "png"
        else:
            return web.FileResponse(path, headers=disposition | {"Content-Type": _type_of(path)})
        return web.Response(body=body, content_type=f"image/{kind}", headers=disposition)

    def _locate(self, name: str, kind: str | None, subfolder: str | None) -> Path | int:
        """The file that is meant, or the status of the refusal."""
        name, folder = self._folders.annotated(name)
        if not name or name[0] == "/" or ".." in name:
            return 400
        folder = folder or self._folders.by_type(kind)
        if folder is None:
            return 400
        if subfolder is not None:
            inside = folder / subfolder
            if os.path.commonpath((os.path.abspath(inside), folder)) != str(folder):
                return 403
            folder = inside
        return folder / os.path.basename(name)

    async def view_metadata(self, request: web.Request) -> web.Response:
        name = request.query.get("filename", "")
        path = self._folders.model_path(request.match_info["folder"], name)
        if not name.endswith(".safetensors") or path is None:
            return web.Response(status=404)
        try:
            header = await asyncio.to_thread(read_header, path)
        except WeightsFailure:
            return web.Response(status=404)
        if "__metadata__" not in header:
            return web.Response(status=404)
        return web.json_response(header["__metadata__"])

    async def upload_image(self, request: web.Request) -> web.Response:
        return await asyncio.to_thread(self._upload, dict(await request.post()), _store)

    async def upload_mask(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        return await asyncio.to_thread(self._upload, form, self._masker(form))

    def _upload(self, form: dict[str, Any], save: Callable[[BinaryIO, Path], None]) -> web.Response:
        image = form.get("image")
        kind = form.get("type", "input")
        root = self._folders.by_type(kind)
        if root is None:
            raise ValueError(f"no folder of type {kind!r}")
        if not image or not image.filename:
            return web.Response(status=400)
        subfolder = form.get("subfolder", "")
        folder = Path(os.path.normpath(root / subfolder))
        path = Path(os.path.abspath(folder / image.filename))
        if os.path.commonpath((root, path)) != str(root):
            return web.Response(status=400)
        folder.mkdir(parents=True, exist_ok=True)
        is_new = True
        if form.get("overwrite") not in ("true", "1"):
            path, is_new = _free_name(folder, image.filename, image.file)
        if is_new:
            save(image.file, path)
        name = image.filename if path.parent != folder else path.name
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})

    def _masker(self, form: dict[str, Any]) -> Callable[[BinaryIO, Path], None]:
        def save(upload: BinaryIO, path: Path) -> None:
            reference = json.loads(form["original_ref"])
            original = self._locate(
                reference["filename"],
                reference.get("type", "output"),
                reference.get("subfolder") or None,
            )
            if isinstance(original, Path) and original.is_file():
                _put_mask(original, upload, path)

        return save


def _store(upload: BinaryIO, path: Path) -> None:
    path.write_bytes(upload.read())


def _put_mask(original: Path, upload: BinaryIO, path: Path) -> None:
    """Save the original, its text chunks included, with the alpha channel of the upload."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with Image.open(original) as picture:
        info = PngInfo()
        for key, value in getattr(picture, "text", {}).items():
            info.add_text(key, value)
        masked = picture.convert("RGBA")
    masked.putalpha(Image.open(upload).convert("RGBA").getchannel("A"))
    masked.save(path, compress_level=4, pnginfo=info)


def _free_name(folder: Path, name: str, upload: BinaryIO) -> tuple[Path, bool]:
    """A name nobody has, or the one that already holds the same bytes; and whether it is new."""
    stem, extension = os.path.splitext(name)
    digest = hashlib.sha256(upload.read()).digest()
    upload.seek(0)
    path, count = folder / name, 1
    while path.exists():
        if hashlib.sha256(path.read_bytes()).digest() == digest:
            return path, False
        path = folder / f"{stem} ({count}){extension}"
        count += 1
    return path, True


def _type_of(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or UNKNOWN_TYPE
    return UNKNOWN_TYPE if kind in NEVER_SHOWN else kind


def _as_preview(path: Path, wanted: str, channel: str) -> tuple[bytes, str]:
    """Smaller, as `preview=webp;90` asks; a picture with alpha can only be WebP."""
    from PIL import Image

    kind, *_, quality = wanted.split(";") if ";" in wanted else (wanted, wanted)
    if kind not in PREVIEW_FORMATS or "a" in channel:
        kind = "webp"
    with Image.open(path) as picture:
        shown = picture.convert("RGB") if kind == "jpeg" or channel == "rgb" else picture
        buffer = io.BytesIO()
        shown.save(buffer, format=kind, quality=int(quality) if quality.isdigit() else 90)
    return buffer.getvalue(), kind


def _as_rgb(path: Path) -> bytes:
    from PIL import Image

    with Image.open(path) as picture:
        return _png(picture.convert("RGB"))


def _as_alpha(path: Path) -> bytes:
    from PIL import Image

    with Image.open(path) as picture:
        alpha = picture.getchannel("A") if picture.mode == "RGBA" else 255
        shown = Image.new("RGBA", picture.size)
        shown.putalpha(alpha)
    return _png(shown)


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


_CHANNELS: dict[str, Callable[[Path], bytes]] = {"rgb": _as_rgb, "a": _as_alpha}
