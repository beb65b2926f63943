"""Lists of pictures in `directory` become a folder that ComfyUI's folder loaders read."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from gateway.config import Settings
from gateway.media.inputs import Inputs, LocalInput
from gateway.models.cache import Cache
from gateway.models.library import Library
from gateway.models.links import Links
from gateway.preparation import Preparation
from gateway.storage.download import Downloader
from gateway.storage.fetcher import Fetcher
from gateway.storage.providers import Providers
from tests.listening import listening


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


async def nowhere(_: str) -> tuple[Path, ...]:
    return ()


@pytest.mark.parametrize(
    ("class_type", "is_path"), [("VHS_LoadImages", False), ("VHS_LoadImagesPath", True)]
)
async def test_a_list_becomes_a_folder_in_its_order(
    tmp_path: Path, class_type: str, is_path: bool
) -> None:
    async def red(_: web.Request) -> web.Response:
        return web.Response(body=png("red"), content_type="image/png")

    async with listening(web.get("/red.png", red)) as host:
        settings = Settings(
            host="127.0.0.1",
            state_dir=tmp_path / "state",
            input_dir=tmp_path / "input",
            model_dir=tmp_path / "models",
            cache_dir=tmp_path / "cache",
            allow_private_networks=("127.0.0.0/8",),
        )
        settings.inputs.mkdir()
        async with (
            Providers.open(settings) as providers,
            Fetcher(providers).run() as fetcher,
            Cache.open(settings, Downloader(providers), providers, lambda _, __: None) as cache,
        ):
            inputs = await Inputs.open(settings, fetcher)
            links = Links(settings.models, settings.cache, settings.cache / "links")
            library = Library(providers, cache, links, nowhere)
            blue = await inputs.admit(base64.b64encode(png("blue")).decode(), location="x")
            assert isinstance(blue, LocalInput)
            graph = {
                "1": {
                    "class_type": class_type,
                    "inputs": {"directory": [f"{host}/red.png", blue.name]},
                }
            }

            preparation = Preparation(inputs, library, settings.inputs)
            bound = await preparation.run(graph, [], [], "job")

    value = bound["1"]["inputs"]["directory"]
    folder = Path(value) if is_path else settings.inputs / value
    colors = [Image.open(file).getpixel((0, 0)) for file in sorted(folder.iterdir())]
    assert Path(value).is_absolute() == is_path
    assert colors == [(255, 0, 0), (0, 0, 255)]
