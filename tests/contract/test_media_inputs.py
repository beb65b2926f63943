"""Inputs, from what a caller sends to a file that ComfyUI finds; a real host, a real folder."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from gateway import errors
from gateway.api import media_values
from gateway.config import Settings
from gateway.media.inputs import Inputs, LocalInput, RemoteInput
from gateway.schemas import BearerAuth
from gateway.storage.fetcher import Fetcher
from tests.crowding import own_time
from tests.listening import listening

HUGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50_000, 50_000) + b"\x08\x02\0\0\0" * 8
PAGE = b"<!doctype html><title>Sign in</title>"


def png(size: int = 32) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((size, size), 80).save(out, "PNG")
    return out.getvalue()


PNG = png()
TEXT = base64.b64encode(PNG).decode()


class Host:
    """A file host that counts."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.files = {
            "/a.png": PNG,
            "/b.png": png(33),
            "/page.png": PAGE,
            "/huge.png": HUGE,
            "/words": b"hello, these are words",
            "/model.obj": b"# wavefront\nv 0 0 0\n",
            "/sound": b"fLaC\0\0\0\x22" + bytes(60),
            "/empty.png": b"",
            "/junk.png": b"\x89PNG\r\n\x1a\n" + b"junk" * 20,
        }
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await self.may_answer.wait()
        if request.path == "/secret.png" and request.headers.get("Authorization") != "Bearer t":
            raise web.HTTPUnauthorized
        found = self.files.get(request.path, PNG if request.path == "/secret.png" else None)
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found, content_type="image/png")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    found = Host()
    async with listening(web.get("/{name}", found.answer)) as found.url:
        yield found
        found.may_answer.set()


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        host="127.0.0.1",
        state_dir=tmp_path / "state",
        input_dir=tmp_path / "input",
        output_dir=tmp_path / "output",
        allow_private_networks=("127.0.0.1",),
        max_input_mb=1,
        input_ttl_s=600,
    )


Opened = Callable[[], Awaitable[Inputs]]


@pytest.fixture
async def opened(settings: Settings, clock: Clock) -> AsyncIterator[Opened]:
    async with contextlib.AsyncExitStack() as stack:

        async def again() -> Inputs:
            fetcher = await stack.enter_async_context(Fetcher.open(settings))
            return await Inputs.open(settings, fetcher, clock)

        yield again


@pytest.fixture
async def inputs(opened: Opened) -> Inputs:
    return await opened()


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.inputs


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


async def refused(work: Awaitable[object]) -> errors.GatewayError:
    with pytest.raises(errors.GatewayError) as caught:
        await work
    assert caught.value.location is not None
    return caught.value


AT = "prompt.3.inputs.image"


async def test_base64_becomes_a_file_that_identical_base64_shares(
    inputs: Inputs, folder: Path
) -> None:
    first = await inputs.admit(TEXT, location=AT)
    second = await inputs.admit(f"data:image/png;base64,{TEXT}", location=AT)

    assert first == second
    assert isinstance(first, LocalInput)
    assert first.created
    assert files(folder) == [first.name]
    assert (folder / first.name).read_bytes() == PNG
    assert first.name.endswith(".png")
    assert len(first.name) == 36


async def test_a_file_that_is_there_is_left_alone(inputs: Inputs, folder: Path) -> None:
    (folder / "photo.png").write_bytes(b"x")

    assert await inputs.admit("photo.png", location=AT) == LocalInput("photo.png", False)


async def test_a_url_is_told_from_a_name(inputs: Inputs, host: Host) -> None:
    url = f"{host.url}/a.png"

    assert await inputs.admit(url, location=AT) == RemoteInput(url)
    assert host.asked == []


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("s3://bucket", errors.InvalidInput, "s3://bucket"),
        ("gs://bucket/", errors.InvalidInput, "gs://bucket"),
        ("az://container", errors.InvalidInput, "az://"),
        ("hf://repo", errors.InvalidInput, "hf://"),
        ("ftp://host/x.png", errors.InvalidInput, "not a URL that can be fetched"),
        ("file:///etc/passwd", errors.InvalidInput, "in no folder that file URLs may name"),
        ("http://", errors.InvalidInput, "not a URL that can be fetched"),
        ("http://a b\0/", errors.InvalidInput, "not a URL that can be fetched"),
        ("http://host:99999/", errors.InvalidInput, "not a URL that can be fetched"),
        ("http://169.254.169.254/x", errors.InputNotFetched, "not on the public internet"),
        ("http://2852039166/x", errors.InputNotFetched, "not on the public internet"),
        ("http://[::ffff:10.0.0.1]/x", errors.InputNotFetched, "not on the public internet"),
        ("nope.png", errors.InvalidInput, "There is no file"),
        ("../x.png", errors.InvalidInput, "leaves its folder"),
        ("/etc/passwd", errors.InvalidInput, "absolute path"),
        ("a\0b", errors.InvalidInput, "control characters"),
        ("n" * 5000, errors.InvalidInput, "5,000 characters"),
        ("", errors.InvalidInput, "is empty"),
        ("data:image/png;base64,%%%%", errors.InvalidInput, "not valid base64"),
        ("data:text/plain;base64,aGVsbG8=", errors.InvalidInput, "no known type"),
        ("data:image/png;base64,", errors.InvalidInput, "it is empty"),
    ],
)
async def test_what_cannot_be_an_input_is_refused_with_a_reason(
    inputs: Inputs, folder: Path, value: str, kind: type[errors.GatewayError], said: str
) -> None:
    refusal = await refused(inputs.admit(value, location=AT))

    assert type(refusal) is kind
    assert said in refusal.message
    assert refusal.location == AT
    assert 400 <= refusal.status < 500
    assert files(folder) == []


async def test_too_many_bytes_and_too_many_pixels_are_refused(inputs: Inputs, folder: Path) -> None:
    noise = base64.b64encode(png(1100)).decode()
    large = await refused(inputs.admit(noise, location=AT))
    bomb = await refused(inputs.admit(base64.b64encode(HUGE).decode(), location=AT))

    assert (type(large), large.status) == (errors.InputTooLarge, 413)
    assert "MAX_INPUT_MB is 1" in large.message
    assert (type(bomb), bomb.status) == (errors.TooManyPixels, 413)
    assert "50000 x 50000" in bomb.message
    assert "MAX_PIXELS is 178,956,970" in bomb.message
    assert files(folder) == []


async def test_64_askers_make_one_fetch(inputs: Inputs, host: Host, folder: Path) -> None:
    url = f"{host.url}/a.png"

    names = await asyncio.gather(*(inputs.fetch(url, None, location=AT) for _ in range(64)))
    again = await inputs.fetch(url, None, location=AT)

    assert {*names} == {again}
    assert host.asked == ["/a.png"]
    assert files(folder) == [again]
    assert (folder / again).read_bytes() == PNG


async def test_credentials_are_part_of_what_a_file_is(inputs: Inputs, host: Host) -> None:
    url = f"{host.url}/secret.png"

    name = await inputs.fetch(url, BearerAuth(type="bearer", token="t"), location=AT)
    refusal = await refused(inputs.fetch(url, None, location=AT))

    assert name
    assert "401" in refusal.message


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/page.png", "web page (HTML)"),
        ("/words", "no known type"),
        ("/sound", "is no picture: it is audio/flac"),
        ("/empty.png", "it is empty"),
        ("/junk.png", "its header cannot be read"),
        ("/nope.png", "404"),
    ],
)
async def test_what_is_no_picture_is_not_kept(
    inputs: Inputs, host: Host, folder: Path, path: str, said: str
) -> None:
    refusal = await refused(inputs.fetch(host.url + path, None, location=AT))

    assert refusal.status == 400
    assert said in refusal.message
    assert refusal.location == AT
    assert files(folder) == []


async def test_a_fetched_picture_may_not_be_a_bomb(inputs: Inputs, host: Host) -> None:
    refusal = await refused(inputs.fetch(f"{host.url}/huge.png", None, location=AT))

    assert type(refusal) is errors.TooManyPixels


async def test_sound_and_files_of_other_types_have_their_inputs(inputs: Inputs, host: Host) -> None:
    sound = await inputs.fetch(f"{host.url}/sound", None, location="prompt.1.inputs.audio")
    model = await inputs.fetch(f"{host.url}/model.obj", None, location="prompt.1.inputs.file")

    assert sound.endswith(".flac")
    assert model.endswith(".obj")


async def test_each_asker_is_told_where_its_own_url_stands(inputs: Inputs, host: Host) -> None:
    host.may_answer.clear()
    asks = [
        asyncio.create_task(inputs.fetch(f"{host.url}/page.png", None, location=f"prompt.{n}.x"))
        for n in range(3)
    ]
    await asyncio.sleep(0)
    host.may_answer.set()

    refusals = [await refused(ask) for ask in asks]

    assert [refusal.location for refusal in refusals] == [f"prompt.{n}.x" for n in range(3)]
    assert host.asked == ["/page.png"]


async def test_a_file_lives_while_it_is_held_and_a_while_after(
    inputs: Inputs, host: Host, folder: Path, clock: Clock
) -> None:
    name = await inputs.fetch(f"{host.url}/a.png", None, location=AT, job_id="one")
    inputs.hold("two", [name, "not-ours.png"])
    clock.now += 10_000

    assert await inputs.sweep(clock.now) == []
    inputs.release("one")
    clock.now += 10_000
    assert await inputs.sweep(clock.now) == []
    inputs.release("two")
    clock.now += 599
    assert await inputs.sweep(clock.now) == []
    clock.now += 1
    assert await inputs.sweep(clock.now) == [folder / name]
    assert files(folder) == []


async def test_asking_again_lengthens_a_file_s_life(
    inputs: Inputs, host: Host, clock: Clock
) -> None:
    url = f"{host.url}/a.png"
    name = await inputs.fetch(url, None, location=AT)
    clock.now += 599
    await inputs.fetch(url, None, location=AT)
    clock.now += 599
    await inputs.admit(name, location=AT)
    clock.now += 599

    assert await inputs.sweep(clock.now) == []
    assert host.asked == ["/a.png"]
    clock.now += 1
    assert len(await inputs.sweep(clock.now)) == 1
    await inputs.fetch(url, None, location=AT)
    assert host.asked == ["/a.png", "/a.png"]


async def test_a_file_that_somebody_removed_is_fetched_again(
    inputs: Inputs, host: Host, folder: Path
) -> None:
    url = f"{host.url}/a.png"
    (folder / await inputs.fetch(url, None, location=AT)).unlink()

    name = await inputs.fetch(url, None, location=AT)

    assert (folder / name).exists()
    assert len(host.asked) == 2


async def test_files_of_an_earlier_run_are_known_and_swept(
    opened: Opened, settings: Settings, host: Host, folder: Path, clock: Clock
) -> None:
    before = await opened()
    name = await before.fetch(f"{host.url}/a.png", None, location=AT)
    (folder / "mine.png").write_bytes(b"x")
    await before.sweep(clock.now)

    after = await opened()

    assert await after.fetch(f"{host.url}/a.png", None, location=AT) == name
    assert after.named_in({"1": {"inputs": {"image": name, "seed": 1, "x": "mine.png"}}}) == [name]
    clock.now += 601
    assert await after.sweep(clock.now) == [folder / name]
    assert files(folder) == ["mine.png"]
    assert list((settings.state / "inputs" / "ledger").iterdir()) == []


async def test_leftovers_of_a_killed_writer_are_removed(
    opened: Opened, folder: Path, clock: Clock
) -> None:
    folder.mkdir()
    old, young = (folder / f".fetch-{digit * 32}.part" for digit in "ab")
    for path, age in ((old, 601), (young, 5)):
        path.write_bytes(b"half")
        os.utime(path, (clock.now - age, clock.now - age))
    (folder / ".fetch-mine.part").write_bytes(b"x")

    await opened()

    assert files(folder) == [".fetch-" + "b" * 32 + ".part", ".fetch-mine.part"]


async def test_a_directory_list_becomes_a_folder_in_order(
    inputs: Inputs, host: Host, folder: Path, clock: Clock
) -> None:
    values = [f"{host.url}/b.png", TEXT, f"{host.url}/a.png", f"{host.url}/b.png"]
    where = "prompt.3.inputs.directory"

    entries = await inputs.admit_directory(values, location=where)
    name = await inputs.fetch_directory(entries, lambda _: None, location=where, job_id="job")
    again = await inputs.fetch_directory(entries, lambda _: None, location=where)

    assert name == again
    assert files(folder / name) == [f"{n:06d}.png" for n in range(4)]
    contents = [(folder / name / f"{n:06d}.png").read_bytes() for n in range(4)]
    assert contents == [host.files["/b.png"], PNG, PNG, host.files["/b.png"]]
    assert sorted(host.asked) == ["/a.png", "/b.png"]
    await inputs.admit_folder(name, location=where)
    inputs.release("job")
    clock.now += 10_000
    await inputs.sweep(clock.now)
    assert files(folder) == []


async def test_a_directory_list_names_the_entry_that_failed(inputs: Inputs, host: Host) -> None:
    where = "prompt.3.inputs.directory"
    entries = await inputs.admit_directory([f"{host.url}/a.png", f"{host.url}/no"], location=where)

    refusal = await refused(inputs.fetch_directory(entries, lambda _: None, location=where))
    missing = await refused(inputs.admit_folder("../x", location=where))

    assert refusal.location == f"{where}.1"
    assert missing.location == where


async def test_decoding_never_stops_the_loop(settings: Settings, inputs: Inputs) -> None:
    async def longest_turn(first: int) -> float:
        values = [base64.b64encode(PNG + bytes(first + n)).decode() for n in range(8)]
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                at = own_time()
                await asyncio.sleep(0.001)
                longest = max(longest, own_time() - at)

        watcher = asyncio.create_task(watch())
        await asyncio.gather(*(inputs.admit(value, location=AT) for value in values))
        watcher.cancel()
        return longest

    # A thread that the loop waits for may itself be kept waiting: the best of a few counts.
    assert min([await longest_turn(900_000 + 8 * n) for n in range(5)]) < 0.1


async def test_base64_becomes_a_file_however_deep_it_stands(inputs: Inputs) -> None:
    name = (await inputs.admit(TEXT, location=AT)).name
    given = {"a": TEXT, "b": [TEXT, 1, {"c": [f"data:image/png;base64,{TEXT}", "x"]}], "d": [1, 2]}
    found = await media_values.without_base64(inputs, given)
    assert found == {"a": name, "b": [name, 1, {"c": [name, "x"]}], "d": [1, 2]}
    broken = {"b": [{"c": f"{base64.b64encode(PNG).decode()}!"}]}
    assert (await refused(media_values.without_base64(inputs, broken))).location == "input.b.0.c"
