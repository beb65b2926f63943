"""The library: weights by URL as ComfyUI lists them, files and whole repositories."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway import errors
from gateway.config import Settings
from gateway.models.cache import Cache
from gateway.models.library import Library
from gateway.models.links import Links
from gateway.models.wanted import Want
from gateway.schemas import BearerAuth
from gateway.storage.download import Downloader
from gateway.storage.providers import Providers
from tests.contract.providers import hub
from tests.waiting import wait_until
from tests.weights import safetensors

TOKEN = "hf_secret"
FILES = {
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": safetensors(50_000),
    "README.md": b"# A model",
}


@contextlib.asynccontextmanager
async def opened(folder: Path, endpoint: str, paths: Sequence[Path] = ()) -> AsyncIterator[Library]:
    """Yield a library with folders of its own, and this Hugging Face.

    `paths` is where ComfyUI looks, whatever folder it is asked about.
    """

    async def told(_: str) -> Sequence[Path]:
        return paths

    settings = Settings(
        cache_dir=folder / "cache", model_dir=folder / "models", hf_endpoint=endpoint
    )
    links = Links(settings.models, settings.cache, settings.cache / "links")
    async with (
        Providers.open(settings) as providers,
        Cache.open(settings, Downloader(providers), providers, lambda _, __: None) as cache,
    ):
        yield Library(providers, cache, links, told)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_a_repository_becomes_a_folder_of_links(tmp_path: Path) -> None:
    async with hub.serving(TOKEN) as server, opened(tmp_path, server.endpoint) as library:
        server.repository("org/model", FILES)
        want = Want(url="hf://org/model", folder="diffusers", name="mine")

        [brought] = await library.bring([want], "job")
        asked = len(server.asked)
        [again] = await library.bring([want], "other")

    wanted = {name: body for name, body in FILES.items() if name != "README.md"}
    assert brought == again
    assert (brought.name, brought.size) == ("mine", sum(map(len, wanted.values())))
    assert files_below(tmp_path / "cache" / "links" / "diffusers" / "mine") == wanted
    assert len(server.asked) == asked


async def test_repositories_of_one_job_are_listed_side_by_side(tmp_path: Path) -> None:
    async with hub.serving(TOKEN) as server, opened(tmp_path, server.endpoint) as library:
        server.held["tree"] = asyncio.Event()
        for name in "abc":
            server.repository(f"org/{name}", FILES)
        wants = [Want(url=f"hf://org/{name}", folder="diffusers") for name in "abc"]

        bringing = asyncio.create_task(library.bring(wants, "job"))
        await wait_until(
            lambda: sum("/tree/" in asked.path for asked in server.asked) == 3,
            description="all are asked for",
        )
        server.held["tree"].set()
        assert len({one.name for one in await bringing}) == 3


async def test_a_private_repository_is_for_those_with_a_token(tmp_path: Path) -> None:
    async with hub.serving(TOKEN) as server, opened(tmp_path, server.endpoint) as library:
        server.repository("org/model", FILES).is_private = True
        url = f"{server.endpoint}/org/model"
        auth = BearerAuth(type="bearer", token=TOKEN)

        await library.bring([Want(url=url, folder="diffusers", auth=auth)], "job")
        with pytest.raises(errors.ModelNotFetched) as refused:
            await library.bring([Want(url=url, folder="diffusers")], "other")

    assert "401" in refused.value.message or "token" in str(refused.value.hint)


async def test_a_url_of_a_repository_is_no_file(tmp_path: Path) -> None:
    async with hub.serving(TOKEN) as server, opened(tmp_path, server.endpoint) as library:
        with pytest.raises(errors.InvalidInput):
            library.check(Want(url="hf://org/model", folder="vae"))
        library.check(Want(url="hf://org/model", folder="diffusers"))


@pytest.mark.parametrize("place", ["models/ultralytics/bbox", "comfyui/models/ultralytics/bbox"])
async def test_a_folder_of_a_custom_node_is_linked_where_comfyui_looks(
    tmp_path: Path, place: str
) -> None:
    paths = (tmp_path / place,)
    async with (
        hub.serving(TOKEN) as server,
        opened(tmp_path, server.endpoint, paths) as library,
    ):
        server.repository(
            "org/model", {"x.safetensors": FILES["unet/diffusion_pytorch_model.safetensors"]}
        )
        want = Want(url="hf://org/model/x.safetensors", folder="ultralytics_bbox", name="x.pt")

        [brought] = await library.bring([want], "job")

    assert brought.name == "x.pt"
    assert files_below(tmp_path / place).keys() == {"x.pt"}


@pytest.mark.parametrize(
    ("url", "kind", "told"),
    [
        ("http://10.0.0.1/x.safetensors", errors.ModelNotFetched, "not on the public internet"),
        (
            "https://example.org/x.safetensors?sig=secret",
            errors.InvalidInput,
            r"sig=\*\*\* is a file",
        ),
    ],
)
async def test_what_can_be_told_at_once(
    tmp_path: Path, url: str, kind: type[errors.GatewayError], told: str
) -> None:
    async with opened(tmp_path, "https://hub.example.org") as library:
        with pytest.raises(kind, match=told) as caught:
            library.check(Want(url=url, folder="diffusers", location="prompt.1.inputs.model_path"))
        assert caught.value.location == "prompt.1.inputs.model_path"
        library.check(Want(url="hf://owner/name", folder="diffusers"))
        library.check(Want(url="https://example.org/x.safetensors", folder="vae"))
