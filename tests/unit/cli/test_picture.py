"""Pictures that the command line brings to a size."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from gateway.cli.failure import CommandFailed
from gateway.cli.picture import Crop, Frame, content, framed, size
from tests.listening import listening

ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def halves(width: int = 40, height: int = 20) -> Image.Image:
    """A picture that is red on the left and black on the right."""
    image = Image.new("RGB", (width, height))
    image.paste((255, 0, 0), (0, 0, width // 2, height))
    return image


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("text", "found"), [("512x256", (512, 256)), ("1X16384", (1, 16384))])
def test_a_size(text: str, found: tuple[int, int]) -> None:
    assert size(text) == found


@pytest.mark.parametrize("text", ["", "512", "0x1", "1x0", "16385x1", "-1x1", "1x1x1", "1.5x1"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        size(text)


@pytest.mark.parametrize("crop", ["cover", "contain", "fill"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16"])
def test_every_kind_of_picture_gets_the_size(mode: str, crop: Crop) -> None:
    found = opened(framed("x", encoded(Image.new(mode, (40, 20))), Frame(30, 30, crop)))
    assert (found.size, found.mode) == ((30, 30), "RGBA" if "A" in mode else "RGB")


def test_cover_cuts_contain_leaves_edges_and_fill_distorts() -> None:
    data = encoded(halves())
    cover, contain, fill = (
        opened(framed("x", data, Frame(20, 20, crop))) for crop in ("cover", "contain", "fill")
    )
    assert cover.getpixel((2, 0)) == fill.getpixel((2, 0)) == (255, 0, 0)
    assert cover.getpixel((17, 19)) == fill.getpixel((17, 19)) == (0, 0, 0)
    assert contain.getpixel((2, 0)) == (0, 0, 0)
    assert contain.getpixel((2, 10)) == (255, 0, 0)


def test_the_edges_of_a_transparent_picture_are_transparent() -> None:
    found = opened(
        framed("x", encoded(Image.new("RGBA", (40, 20), "red")), Frame(20, 20, "contain"))
    )
    assert (found.getpixel((0, 0)), found.getpixel((10, 10))) == ((0, 0, 0, 0), (255, 0, 0, 255))


def test_a_picture_stands_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(halves(), "JPEG", exif=exif, quality=95)
    found = opened(framed("x", data, Frame(20, 40)))
    red, black = found.getpixel((10, 5)), found.getpixel((10, 35))
    assert (red[0] > 200, black[0] < 50) == (True, True)
    assert found.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("data", [encoded(halves())[:60], b"\x89PNG\r\n\x1a\nnot", b"BMabc"])
def test_what_cannot_be_read(data: bytes) -> None:
    with pytest.raises(CommandFailed, match=r"--input-image x\.png cannot be read: "):
        framed("x.png", data, Frame(10, 10))


class TestContent:
    async def test_a_file_goes_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(encoded(halves()))
        sent = await content(str(tmp_path / "a.png"), None)
        assert base64.b64decode(sent) == encoded(halves())

    async def test_a_url_stays_one_unless_it_is_resized(self) -> None:
        async def answer(request: web.Request) -> web.Response:
            is_there = request.path == "/a.png"
            return web.Response(body=encoded(halves()), status=200 if is_there else 404)

        async with listening(web.get("/{name}", answer)) as url:
            assert await content(f"{url}/a.png", None) == f"{url}/a.png"
            sent = await content(f"{url}/a.png", Frame(8, 8))
            assert opened(base64.b64decode(sent)).size == (8, 8)
            with pytest.raises(CommandFailed, match=r"/b\.png answered 404"):
                await content(f"{url}/b.png", Frame(8, 8))

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("s3://bucket/a.png", "cannot be fetched from here"),
            (
                "http://me:hidden@127.0.0.1:1/a.png?token=hidden",
                r"0.0.1:1/a\.png\?token=\*\*\*: Cannot connect",
            ),
            ("none.png", r"none\.png: No such file"),
            (__file__, "is no picture: its first bytes"),
        ],
    )
    async def test_what_cannot_be_had(self, source: str, says: str) -> None:
        with pytest.raises(CommandFailed, match=says):
            await content(source, Frame(8, 8))
