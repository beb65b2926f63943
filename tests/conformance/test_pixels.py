"""Pictures to the pixel: against values that are known, and against stock ComfyUI's own."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from .conftest import Client, connect, empty_image, png, save, start_engine, unique, upload

METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
WIDTH, HEIGHT = 37, 23


def noise(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    random = np.random.default_rng(7)
    bands = len(mode)
    array = random.integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    return Image.fromarray(array[:, :, 0] if bands == 1 else array)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def load(name: str) -> dict[str, Any]:
    return {"class_type": "LoadImage", "inputs": {"image": name}}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


async def pictures(client: Client, content: bytes, **nodes: dict[str, Any]) -> list[Any]:
    """Load a file as `load`, run the nodes, and return what the last of them gave."""
    name = f"{unique()}.png"
    await upload(client, name, content)
    graph = {"load": load(name), **nodes, "save": save([*nodes, "load"][len(nodes) - 1])}
    if not nodes:
        graph["save"] = save("load")
    _, entry = await client.run(graph)
    assert entry["status"]["completed"], entry["status"]["messages"]
    saved = entry["outputs"]["save"]["images"]
    return [await picture(client, one["filename"]) for one in saved]


async def picture(client: Client, name: str) -> npt.NDArray[np.uint8]:
    _, content = await client.get("/view", filename=name)
    return np.asarray(Image.open(io.BytesIO(content)))


async def test_what_is_loaded_is_saved_again(client: Client) -> None:
    (saved,) = await pictures(client, encoded(noise()))

    # Not one more or less, but for the rounding down that ComfyUI does.
    assert np.abs(saved.astype(int) - np.asarray(noise()).astype(int)).max() <= 1


async def test_colors_are_inverted(client: Client) -> None:
    (inverted,) = await pictures(
        client, png((0, 255, 51)), invert=node("ImageInvert", image=["load", 0])
    )

    assert inverted[0, 0].tolist() == [255, 0, 204]


async def test_a_crop_stays_inside(client: Client) -> None:
    (cropped,) = await pictures(
        client,
        encoded(noise()),
        crop=node("ImageCrop", image=["load", 0], width=100, height=5, x=30, y=20),
    )

    expected = np.asarray(noise())[20:, 30:]
    assert cropped.shape == expected.shape
    assert np.abs(cropped.astype(int) - expected.astype(int)).max() <= 1


async def test_a_batch_takes_the_size_of_its_first(client: Client) -> None:
    first, second = await pictures(
        client,
        encoded(noise()),
        other=empty_image(0x102030, width=10, height=40),
        batch=node("ImageBatch", image1=["load", 0], image2=["other", 0]),
    )

    assert first.shape == second.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(second.astype(int) - (0x10, 0x20, 0x30)).max() <= 1


async def test_padding_is_gray(client: Client) -> None:
    sides = {"left": 8, "top": 16, "right": 24, "bottom": 0}
    (padded,) = await pictures(
        client,
        encoded(noise()),
        pad=node("ImagePadForOutpaint", image=["load", 0], feathering=4, **sides),
    )

    assert padded.shape == (HEIGHT + 16, WIDTH + 32, 3)
    assert padded[0, 0].tolist() == [127, 127, 127]


async def test_scaling_by_nothing_changes_nothing(client: Client) -> None:
    same = node(
        "ImageScale", image=["load", 0], upscale_method="area", width=0, height=0, crop="disabled"
    )
    by_one = node("ImageScaleBy", image=["same", 0], upscale_method="bicubic", scale_by=1.0)

    (scaled,) = await pictures(client, encoded(noise()), same=same, by_one=by_one)

    assert scaled.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(scaled.astype(int) - np.asarray(noise()).astype(int)).max() <= 1


@pytest.mark.parametrize(("width", "height", "expected"), [(74, 0, (46, 74)), (0, 46, (46, 74))])
async def test_a_side_of_zero_follows_the_other(
    client: Client, width: int, height: int, expected: tuple[int, int]
) -> None:
    scale = {"upscale_method": "bilinear", "crop": "center", "width": width, "height": height}

    (scaled,) = await pictures(
        client, encoded(noise()), scale=node("ImageScale", image=["load", 0], **scale)
    )

    assert scaled.shape[:2] == expected


async def test_an_animation_is_saved_and_loaded_frame_by_frame(client: Client) -> None:
    settings = {"fps": 10.0, "lossless": True, "quality": 80, "method": "fastest"}
    name = unique()
    graph = {
        "1": empty_image(0xFF0000),
        "2": empty_image(0x0000FF),
        "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        "4": node("SaveAnimatedWEBP", images=["3", 0], filename_prefix=name, **settings),
    }
    _, entry = await client.run(graph)

    (saved,) = entry["outputs"]["4"]["images"]
    assert entry["outputs"]["4"]["animated"] == [True]
    path = client.engine.base / "output" / saved["filename"]
    with Image.open(path) as moving:
        assert moving.n_frames == 2
        assert moving.getexif()[0x0110].startswith('prompt:{"1"')
    frames = await pictures(client, path.read_bytes())
    assert [frame[0, 0].tolist() for frame in frames] == [[255, 0, 0], [0, 0, 255]]


# -- against stock


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    folder: Path = tmp_path_factory.mktemp("both")
    # Stock first: where there is none, nothing is left running.
    stock = start_engine("stock", folder / "stock")
    embedded = start_engine("embedded", folder / "embedded")
    yield [embedded, stock]
    for engine in (embedded, stock):
        engine.stop()


@pytest.fixture
async def pair(
    both: list[Any], session: aiohttp.ClientSession
) -> AsyncIterator[tuple[Client, Client]]:
    clients = [await connect(session, engine, unique()) for engine in both]
    for client in clients:
        await client.next_frame()
    yield clients[0], clients[1]
    for client in clients:
        await client.socket.close()


async def assert_agree(
    pair: tuple[Client, Client], content: bytes, tolerance: int, **nodes: dict[str, Any]
) -> None:
    ours, theirs = [await pictures(client, content, **nodes) for client in pair]

    assert [one.shape for one in ours] == [one.shape for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= tolerance


@pytest.mark.comfy
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(64, 64), (11, 50), (80, 9), (5, 3), (WIDTH, HEIGHT)], ids=str)
@pytest.mark.parametrize("crop", ["disabled", "center"])
async def test_scaling_agrees(
    pair: tuple[Client, Client], method: str, size: tuple[int, int], crop: str
) -> None:
    width, height = size
    settings = {"upscale_method": method, "width": width, "height": height, "crop": crop}

    # Sums in another order may fall on the other side of a whole number.
    scale = node("ImageScale", image=["load", 0], **settings)
    await assert_agree(pair, encoded(noise()), 1, scale=scale)


@pytest.mark.comfy
@pytest.mark.parametrize("scale_by", [0.1, 0.33, 1.7])
async def test_scaling_by_a_factor_agrees(pair: tuple[Client, Client], scale_by: float) -> None:
    scale = node("ImageScaleBy", image=["load", 0], upscale_method="bilinear", scale_by=scale_by)
    await assert_agree(pair, encoded(noise()), 1, scale=scale)


SOURCES = {
    "rgb": encoded(noise()),
    "rgba": encoded(noise("RGBA")),
    "gray": encoded(noise("L")),
    "palette": encoded(noise().quantize(16)),
    "one bit": encoded(noise("L").convert("1")),
    "jpeg": encoded(noise(), "JPEG"),
    "cmyk": encoded(noise().convert("CMYK"), "JPEG"),
    "sixteen bit": encoded(Image.fromarray(np.arange(0, 66_000, 500, dtype=np.uint16)[None])),
    "transparent gif": encoded(noise().quantize(8), "GIF", transparency=0),
    "animated gif": encoded(
        noise(), "GIF", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), 5)]
    ),
    "turned": encoded(noise(), "JPEG", exif=turned()),
}  # fmt: skip


@pytest.mark.comfy
@pytest.mark.parametrize("source", SOURCES)
async def test_loading_agrees(pair: tuple[Client, Client], source: str) -> None:
    await assert_agree(pair, SOURCES[source], 0)


@pytest.mark.comfy
@pytest.mark.parametrize("source", ["rgb cut", "jpeg cut"])
async def test_cut_pictures_agree(pair: tuple[Client, Client], source: str) -> None:
    content = SOURCES[source.split(maxsplit=1)[0]]
    results = []
    for client in pair:
        name = f"{source.replace(' ', '-')}.png"
        await upload(client, name, content[: len(content) // 2], overwrite="true")
        _, entry = await client.run({"1": load(name), "2": save("1")})
        kind, data = entry["status"]["messages"][-1]
        results.append((kind, data.get("exception_type"), data.get("exception_message")))

    assert results[0] == results[1]


@pytest.mark.comfy
async def test_padding_and_batching_agree(pair: tuple[Client, Client]) -> None:
    sides = {"left": 16, "top": 0, "right": 8, "bottom": 24}
    pad = node("ImagePadForOutpaint", image=["load", 0], feathering=9, **sides)
    other = empty_image(0x807F01, width=90, height=30)
    batch = node("ImageBatch", image1=["pad", 0], image2=["other", 0])
    await assert_agree(pair, encoded(noise()), 1, pad=pad, other=other, batch=batch)
