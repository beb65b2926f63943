"""Conversions, checked by opening what comes out with Pillow."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from gateway.media import convert
from gateway.schemas import ConvertOutput
from tests.waiting import wait_until

PROMPT = {"3": {"class_type": "KSampler", "inputs": {"text": "a cat (sitting)", "seed": 1}}}
WORKFLOW = {"nodes": [], "note": "é (x, ASCII, 1 components, 1 bytes)"}


def spec(form: str, **options: object) -> ConvertOutput:
    return ConvertOutput.model_validate({"format": form, "options": options})


def as_comfyui_saves(path: Path, size: tuple[int, int] = (64, 48), note: str = "") -> Path:
    """Save a PNG with the text chunks of ComfyUI's SaveImage."""
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(PROMPT))
    info.add_text("workflow", json.dumps({**WORKFLOW, "more": note}))
    Image.effect_noise(size, 60).convert("RGB").save(path, "PNG", pnginfo=info)
    return path


def animation(path: Path, frames: int = 5, **options: object) -> Path:
    first, *rest = [Image.new("RGB", (40, 30), (50 * n, 20, 20)) for n in range(frames)]
    first.save(path, save_all=True, append_images=rest, duration=100, **options)
    return path


def embedded(image: Image.Image) -> tuple[object, object]:
    exif = image.getexif()
    return tuple(  # type: ignore[return-value]
        json.loads(exif[tag].partition(":")[2]) if tag in exif else None for tag in (0x110, 0x10F)
    )


@pytest.mark.parametrize(
    ("form", "pillow"),
    [("jpeg", "JPEG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("png", "PNG"), ("avif", "AVIF")],
)
async def test_each_format_opens_and_has_the_size_of_the_source(
    tmp_path: Path, form: str, pillow: str
) -> None:
    source = as_comfyui_saves(tmp_path / "a.png")

    done = await convert.convert(source, spec(form), tmp_path / "out" / f"a.{form}")

    assert done == convert.Converted(tmp_path / "out" / f"a.{form}")
    with Image.open(done.path) as image:
        image.load()
        assert (image.format, image.size) == (pillow, (64, 48))
    assert source.exists()
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [f"a.{form}"]


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif"])
async def test_the_workflow_goes_along_as_exif(tmp_path: Path, form: str) -> None:
    source = as_comfyui_saves(tmp_path / "a.png")
    into = tmp_path / f"b.{form}"

    assert await convert.convert(source, spec(form), into) == convert.Converted(into)

    with Image.open(into) as image:
        assert embedded(image) == (PROMPT, {**WORKFLOW, "more": ""})


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif", "png"])
async def test_keep_metadata_false_strips_it(tmp_path: Path, form: str) -> None:
    source = as_comfyui_saves(tmp_path / "a.png")
    into = tmp_path / f"b.{form}"

    await convert.convert(source, spec(form, keep_metadata=False), into)

    assert b"KSampler" not in into.read_bytes()
    with Image.open(into) as image:
        assert embedded(image) == (None, None)
        assert "prompt" not in image.info


async def test_a_png_keeps_its_text_chunks(tmp_path: Path) -> None:
    source = as_comfyui_saves(tmp_path / "a.png")

    await convert.convert(source, spec("png", palette=True), tmp_path / "b.png")

    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "P"
        assert json.loads(image.text["prompt"]) == PROMPT  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [10, 11, 70_000, 200_001])
async def test_a_webp_holds_a_workflow_of_any_size(tmp_path: Path, length: int) -> None:
    source = as_comfyui_saves(tmp_path / "a.png", note="x" * length)
    into = tmp_path / "b.webp"

    assert await convert.convert(source, spec("webp"), into) == convert.Converted(into)

    with Image.open(into) as image:
        image.load()
        assert embedded(image) == (PROMPT, {**WORKFLOW, "more": "x" * length})
    assert struct.unpack("<I", into.read_bytes()[4:8])[0] == into.stat().st_size - 8


@pytest.mark.parametrize("form", ["jpeg", "avif"])
async def test_a_workflow_beyond_64_kb_is_left_out_with_a_warning(
    tmp_path: Path, form: str
) -> None:
    source = as_comfyui_saves(tmp_path / "a.png", note="x" * 70_000)
    into = tmp_path / f"b.{form}"

    done = await convert.convert(source, spec(form), into)

    assert done == convert.Converted(into, (f"a.png: the workflow is too large for the {form}.",))
    with Image.open(into) as image:
        image.load()
        assert embedded(image) == (PROMPT, None)


@pytest.mark.parametrize("name", ["a.webp", "a.gif"])
async def test_an_animation_keeps_its_frames_in_webp(tmp_path: Path, name: str) -> None:
    source = animation(tmp_path / name)

    await convert.convert(source, spec("webp"), tmp_path / "b.webp")

    with Image.open(tmp_path / "b.webp") as image:
        assert (image.n_frames, image.size) == (5, (40, 30))  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["jpeg", "png", "avif"])
async def test_an_animation_gives_its_first_frame_elsewhere_and_says_so(
    tmp_path: Path, form: str
) -> None:
    source = animation(tmp_path / "a.webp")

    done = await convert.convert(source, spec(form), tmp_path / f"b.{form}")

    assert isinstance(done, convert.Converted)
    assert done.warnings == (f"A {form} holds one picture: the first of 5 frames was taken.",)
    with Image.open(done.path) as image:
        assert image.size == (40, 30)


@pytest.mark.parametrize("note", ["", "y" * 80_000])
async def test_the_workflow_of_an_animated_webp_goes_along(tmp_path: Path, note: str) -> None:
    exif = Image.new("RGB", (1, 1)).getexif()
    exif[0x110] = "prompt:" + json.dumps(PROMPT)
    exif[0x10F] = "workflow:" + json.dumps({**WORKFLOW, "more": note})
    source = animation(tmp_path / "a.webp", exif=exif)

    await convert.convert(source, spec("webp", quality=50), tmp_path / "b.webp")
    await convert.convert(source, spec("png"), tmp_path / "b.png")

    with Image.open(tmp_path / "b.webp") as image:
        assert image.n_frames == 5  # type: ignore[attr-defined]
        assert embedded(image) == (PROMPT, {**WORKFLOW, "more": note})
    with Image.open(tmp_path / "b.png") as image:
        assert json.loads(image.text["workflow"])["more"] == note  # type: ignore[attr-defined]


async def test_transparency_becomes_white_in_a_jpeg(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")

    await convert.convert(tmp_path / "a.png", spec("jpeg"), tmp_path / "a.jpg")

    with Image.open(tmp_path / "a.jpg") as image:
        assert min(image.getpixel((10, 10))) >= 250  # type: ignore[arg-type,type-var]


@pytest.mark.parametrize("form", ["webp", "avif", "png"])
async def test_transparency_is_kept_elsewhere(tmp_path: Path, form: str) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 100)).save(tmp_path / "a.png")

    await convert.convert(tmp_path / "a.png", spec(form), tmp_path / f"b.{form}")

    with Image.open(tmp_path / f"b.{form}") as image:
        assert abs(image.convert("RGBA").getpixel((10, 10))[3] - 100) <= 3  # type: ignore[index]


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif", "png"])
async def test_sixteen_bits_keep_their_brightness(tmp_path: Path, form: str) -> None:
    grey = Image.fromarray(np.full((20, 20), 0x8000, dtype=np.uint16))
    grey.save(tmp_path / "a.png")

    await convert.convert(tmp_path / "a.png", spec(form), tmp_path / f"b.{form}")

    with Image.open(tmp_path / f"b.{form}") as image:
        value = np.asarray(image).flat[0]
    assert abs(int(value) - (0x8000 if form == "png" else 0x80)) <= 2


@pytest.mark.parametrize("content", [b"", b"hello", b"RIFF\x10\0\0\0WAVEfmt ", b"<svg></svg>"])
async def test_what_is_not_a_picture_passes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)

    done = await convert.convert(tmp_path / "a.bin", spec("jpeg"), tmp_path / "a.jpeg")

    assert done == convert.Kept()
    assert not (tmp_path / "a.jpeg").exists()


@pytest.mark.parametrize("form", ["jpeg", "webp", "png", "avif"])
async def test_a_damaged_picture_is_kept_and_told(tmp_path: Path, form: str) -> None:
    whole = as_comfyui_saves(tmp_path / "a.png", (300, 300)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])

    done = await convert.convert(tmp_path / "a.png", spec(form), tmp_path / "out" / f"b.{form}")

    assert isinstance(done, convert.Kept)
    assert done.reason
    assert done.reason.startswith(f"a.png could not be converted to {form} and is returned as")
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_picture_that_the_format_cannot_hold_is_kept(tmp_path: Path) -> None:
    Image.new("L", (17_000, 2)).save(tmp_path / "a.png")

    done = await convert.convert(tmp_path / "a.png", spec("webp"), tmp_path / "a.webp")

    assert isinstance(done, convert.Kept)
    assert done.reason


async def test_a_file_that_is_gone_and_options_that_are_wrong_are_reasons(tmp_path: Path) -> None:
    source = as_comfyui_saves(tmp_path / "a.png")
    gone = await convert.convert(tmp_path / "b.png", spec("webp"), tmp_path / "b.webp")
    wrong = await convert.convert(source, spec("webp", quality=0), tmp_path / "b.webp")

    assert isinstance(gone, convert.Kept)
    assert gone.reason
    assert isinstance(wrong, convert.Kept)
    assert wrong.reason


async def test_the_name_of_a_file_brings_no_options_and_no_loader(tmp_path: Path) -> None:
    source = as_comfyui_saves(tmp_path / "a[n=-1,page=3].svg")

    done = await convert.convert(source, spec("webp"), tmp_path / "b[Q=1].webp")

    assert isinstance(done, convert.Converted)
    assert (tmp_path / "b[Q=1].webp").exists()


async def test_a_cancelled_conversion_brings_no_file(tmp_path: Path) -> None:
    source = as_comfyui_saves(tmp_path / "a.png", (600, 600))
    task = asyncio.create_task(
        convert.convert(source, spec("avif", effort=4), tmp_path / "out" / "b.avif")
    )
    await wait_until((tmp_path / "out").exists, description="it is being written")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until(lambda: not any((tmp_path / "out").iterdir()), description="it is cleaned up")
    assert not (tmp_path / "out" / "b.avif").exists()
