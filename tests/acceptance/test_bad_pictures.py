"""Pictures that are none, names that may not be, and nodes that raise; good ones beside them."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from tests.acceptance.conftest import Gateway, png, refused
from tests.acceptance.graphs import empty_image, load_image, no_such_model, picture_of


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, pixels: bytes = b"") -> bytes:
    """Return a PNG of any size, whose pixels need not be there."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("value", "status", "code", "says"),
    [
        ("data:image/png;base64,@@@@", 400, "invalid_input", "not valid base64"),
        (f"data:image/png;base64,{encoded(b'words, no picture')}", 400, "invalid_input", "type"),
        (encoded(b"words, and not a picture at all"), 400, "invalid_input", "base64"),
        ("@" * 5000, 400, "invalid_input", "URL"),
        ("", 400, "invalid_input", "empty"),
        ("iVBORw0KGgo", 400, "invalid_input", "base64"),
        (encoded(png_header(50_000, 50_000)), 413, "too_many_pixels", "MAX_PIXELS"),
        (encoded(b"ID3\x04" + bytes(60)), 400, "invalid_input", "no picture: it is audio/mpeg"),
        (encoded(png_header(0, 0)), 400, "invalid_input", "picture"),
        ("../x", 400, "invalid_input", "leaves its folder"),
        ("a/../../x.png", 400, "invalid_input", "leaves its folder"),
        ("/etc/passwd", 400, "invalid_input", "absolute path"),
        ("~/x.png", 400, "invalid_input", "absolute path"),
        ("C:\\x.png", 400, "invalid_input", "absolute path"),
        ("..\\x.png", 400, "invalid_input", "backslash"),
        ("../x.png [output]", 400, "invalid_input", "leaves its folder"),
        ("a\0b.png", 400, "invalid_input", "control characters"),
        ("a\nb.png", 400, "invalid_input", "control characters"),
        ("n" * 5000 + ".png", 400, "invalid_input", "URL"),
        ("n" * 300 + ".png", 400, "invalid_input", "no file"),
        ("nowhere.png", 400, "invalid_input", "no file 'nowhere.png'"),
        ("file:///etc/passwd", 400, "invalid_input", "ALLOWED_FILE_ROOTS"),
        ("http://", 400, "invalid_input", "URL"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_picture_that_is_none(
    gateway: Gateway, value: str, status: int, code: str, says: str
) -> None:
    answer = await gateway.ask(body={"prompt": load_image(value)})
    found = refused(answer, status, code, says)
    assert found["location"] == "prompt.1.inputs.image"


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("/missing.png", 400, "input_not_fetched", "404"),
        ("/closes.png", 400, "input_not_fetched", "host"),
        ("/metadata.png", 400, "input_not_fetched", "ALLOW_PRIVATE_NETWORKS"),
        ("/circle.png", 400, "input_not_fetched", "redirects more than"),
        ("/short.png", 400, "input_not_fetched", "host"),
        ("/long.png", 400, "input_not_fetched", "host"),
        ("/huge.png", 413, "input_too_large", "MAX_INPUT_MB"),
        ("/page.png", 400, "invalid_input", "web page"),
        ("/empty.png", 400, "invalid_input", "empty"),
    ],
)
async def test_a_url_that_gives_no_picture(
    gateway: Gateway, host: str, path: str, status: int, code: str, says: str
) -> None:
    answer = await gateway.ask(body={"prompt": load_image(host + path)})
    found = refused(answer, status, code, says)
    assert found["location"] == "prompt.1.inputs.image"


async def test_a_host_that_never_answers_costs_no_more_than_the_timeout(
    gateway: Gateway, host: str
) -> None:
    body = {"prompt": load_image(f"{host}/hangs.png"), "timeout": 0.5}
    refused(await gateway.ask(body=body), 504, "timeout", "timeout")


@pytest.mark.parametrize("path", ["/red.png", "/moved.png"])
async def test_a_picture_by_url_comes_back_as_it_was(
    gateway: Gateway, host: str, path: str
) -> None:
    answer = await gateway.ask(body={"prompt": load_image(host + path)})
    shown = picture_of(answer)
    assert (shown.size, shown.getpixel((1, 1))) == ((3, 2), (255, 0, 0))


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "data:;base64,"])
async def test_a_picture_by_base64_comes_back_as_it_was(gateway: Gateway, head: str) -> None:
    answer = await gateway.ask(body={"prompt": load_image(head + encoded(png((5, 4), (1, 2, 3))))})
    shown = picture_of(answer)
    assert (shown.size, shown.getpixel((4, 3))) == ((5, 4), (1, 2, 3))


async def test_a_node_that_raises(gateway: Gateway) -> None:
    """The answer names the node and shows its own frames, with file names instead of paths."""
    models = gateway.folder / "model_dir" / "vae"
    models.mkdir(parents=True, exist_ok=True)
    (models / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    graph = empty_image()
    no_such_model(graph)
    graph["3"]["inputs"]["vae_name"] = "cut.safetensors"
    found = refused(
        await gateway.ask(body={"prompt": graph}), 500, "execution_failed", "Node 3 (VAELoader)"
    )
    assert (found["node_id"], found["class_type"]) == ("3", "VAELoader")
    assert found["exception_type"]
    assert found["traceback"]
    assert "/" not in "".join(found["traceback"])


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("../../x", "leaves the output folder"),
        ("a/../../x", "leaves the output folder"),
        ("/tmp/x", "absolute"),
        ("~/x", "absolute"),
        ("C:\\x", "absolute"),
        ("a\\b", "backslash"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x7fb", "control characters"),
        ("p" * 5000, "5000 characters"),
        ("é" * 200, "bytes"),
        ("%date:../../x%/../../y", "leaves the output folder"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_prefix_that_may_not_be(gateway: Gateway, prefix: str, says: str) -> None:
    answer = await gateway.ask(body={"prompt": empty_image(prefix)})
    found = refused(answer, 400, "invalid_input", says, "a/b/name")
    assert found["location"] == "prompt.2.inputs.filename_prefix"


@pytest.mark.parametrize("prefix", ["a/b/c", "a b", "ünï", "a..b", "%width%", "", "x/"])
async def test_a_prefix_that_may_be_returns_its_picture(gateway: Gateway, prefix: str) -> None:
    answer = await gateway.ask(body={"prompt": empty_image(prefix)})
    assert picture_of(answer).getpixel((0, 0)) == (0, 255, 0)
    assert "/" not in answer.json["filenames"][0]
