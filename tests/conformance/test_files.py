"""Viewing and uploading pictures."""

from __future__ import annotations

import io
import json

import aiohttp
import pytest
from PIL import Image

from .conftest import Client, png, unique, upload


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


async def fetch(client: Client, **query: str) -> tuple[int, bytes, dict[str, str]]:
    async with client.session.get(f"{client.engine.url}/view", params=query) as response:
        return response.status, await response.read(), dict(response.headers)


async def test_an_upload_keeps_its_name_and_can_be_viewed(client: Client) -> None:
    name, content = f"{unique()}.png", png((9, 8, 7))

    assert await upload(client, name, content) == (
        200,
        {"name": name, "subfolder": "", "type": "input"},
    )

    status, viewed, headers = await fetch(client, filename=name, type="input")
    assert (status, viewed) == (200, content)
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"] == f'filename="{name}"'


async def test_the_same_name_is_numbered_unless_the_bytes_are_the_same(client: Client) -> None:
    stem = unique()
    names = [
        (await upload(client, f"{stem}.png", content))[1]["name"]
        for content in (png((1, 1, 1)), png((2, 2, 2)), png((2, 2, 2)), png((1, 1, 1)))
    ]

    assert names == [f"{stem}.png", f"{stem} (1).png", f"{stem} (1).png", f"{stem}.png"]


@pytest.mark.parametrize("word", ["true", "1"])
async def test_an_upload_may_overwrite(client: Client, word: str) -> None:
    name = f"{unique()}.png"
    await upload(client, name, png((1, 1, 1)))

    await upload(client, name, png((2, 2, 2)), overwrite=word)

    assert (await fetch(client, filename=name, type="input"))[1] == png((2, 2, 2))


@pytest.mark.parametrize("kind", ["input", "output", "temp"])
async def test_an_upload_goes_where_it_is_told(client: Client, kind: str) -> None:
    name, subfolder = f"{unique()}.png", "a/b"

    _, body = await upload(client, name, png((3, 3, 3)), type=kind, subfolder=subfolder)

    assert body == {"name": name, "subfolder": subfolder, "type": kind}
    for query in ({"type": kind, "subfolder": subfolder}, {"type": kind, "subfolder": "a/./b"}):
        assert (await fetch(client, filename=name, **query))[0] == 200
    assert (await fetch(client, filename=f"x/{name} [{kind}]", subfolder=subfolder))[0] == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"subfolder": "../.."}, 400),
        ({"subfolder": "/etc"}, 400),
        ({"type": "elsewhere"}, 500),
    ],
)
async def test_an_upload_stays_in_its_folder(
    client: Client, fields: dict[str, str], status: int
) -> None:
    assert (await upload(client, f"{unique()}.png", png((1, 1, 1)), **fields))[0] == status


async def test_an_upload_without_a_picture_is_refused(client: Client) -> None:
    form = aiohttp.FormData({"overwrite": "true"})
    url = f"{client.engine.url}/upload/image"

    async with client.session.post(url, data=form) as response:
        assert (response.status, await response.read()) == (400, b"")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 404),
        ({"filename": ""}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "../x.png"}, 400),
        ({"filename": "a..b.png"}, 400),
        ({"filename": "none.png", "type": "elsewhere"}, 400),
        ({"filename": "none.png", "subfolder": "../.."}, 403),
        ({"filename": "none.png", "subfolder": "/etc"}, 403),
        ({"filename": "none.png", "subfolder": "no/such"}, 404),
        ({"filename": "none.png", "type": "temp"}, 404),
    ],
    ids=str,
)
async def test_what_cannot_be_viewed(client: Client, query: dict[str, str], status: int) -> None:
    answer, body, _ = await fetch(client, **query)

    assert (answer, body) == (status, b"")


@pytest.mark.parametrize(
    ("query", "kind", "mode"),
    [
        ({"preview": "webp;50"}, "WEBP", "RGBA"),
        ({"preview": "jpeg;50"}, "JPEG", "RGB"),
        ({"preview": "jpeg"}, "JPEG", "RGB"),
        ({"preview": "gif"}, "WEBP", "RGBA"),
        ({"preview": "jpeg", "channel": "a"}, "WEBP", "RGBA"),
        ({"preview": "webp", "channel": "rgb"}, "WEBP", "RGB"),
        ({"channel": "rgb"}, "PNG", "RGB"),
        ({"channel": "a"}, "PNG", "RGBA"),
        ({"channel": "rgba"}, "PNG", "RGBA"),
        ({"channel": "whatever"}, "PNG", "RGBA"),
    ],
    ids=str,
)
async def test_views_are_converted(
    client: Client, query: dict[str, str], kind: str, mode: str
) -> None:
    name = f"{unique()}.png"
    await upload(client, name, png((200, 100, 50, 128)))

    status, content, headers = await fetch(client, filename=name, type="input", **query)

    assert status == 200
    assert headers["Content-Type"] == f"image/{kind.lower()}"
    picture = opened(content)
    assert (picture.format, picture.mode, picture.size) == (kind, mode, (8, 6))
    if query.get("channel") == "a" and "preview" not in query:
        assert picture.getpixel((0, 0)) == (0, 0, 0, 128)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "application/octet-stream"),
        ("code.js", "application/javascript; charset=utf-8"),
        ("look.css", "application/octet-stream"),
        ("data.json", "application/json"),
        ("unknown.xyzzy", "application/octet-stream"),
        ("moving.webp", "image/webp"),
    ],
)
async def test_pages_and_styles_are_only_downloaded(client: Client, name: str, kind: str) -> None:
    _, body = await upload(client, f"{unique()}-{name}", b"{}")

    _, content, headers = await fetch(client, filename=body["name"], type="input")

    assert content == b"{}"
    assert headers["Content-Type"] == kind


async def test_a_part_of_a_file_can_be_viewed(client: Client) -> None:
    name = f"{unique()}.bin"
    await upload(client, name, bytes(range(100)))
    url, query = f"{client.engine.url}/view", {"filename": name, "type": "input"}

    headers = {"Range": "bytes=10-19"}
    async with client.session.get(url, params=query, headers=headers) as response:
        assert (response.status, await response.read()) == (206, bytes(range(10, 20)))


async def test_a_mask_becomes_the_alpha_of_its_original(client: Client) -> None:
    name, masked = f"{unique()}.png", f"{unique()}.png"
    await upload(client, name, png((10, 20, 30)))
    reference = {"filename": name, "type": "input", "subfolder": ""}
    form = aiohttp.FormData({"original_ref": json.dumps(reference), "overwrite": "true"})
    form.add_field("image", png((0, 0, 0, 77)), filename=masked)

    async with client.session.post(f"{client.engine.url}/upload/mask", data=form) as response:
        assert await response.json() == {"name": masked, "subfolder": "", "type": "input"}

    _, content, _ = await fetch(client, filename=masked, type="input")
    assert opened(content).getpixel((0, 0)) == (10, 20, 30, 77)


async def test_weights_tell_their_metadata(client: Client) -> None:
    path = "/view_metadata/checkpoints"

    assert await client.get(path, filename="model.safetensors") == (200, {"made": "for tests"})
    for name in ("none.safetensors", "model.ckpt", "../model.safetensors.txt"):
        assert (await client.get(path, filename=name))[0] == 404
