"""`gateway models` and `gateway cache`: their commands and options."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from gateway.cli import cache as caching
from gateway.cli import models as modelling
from gateway.cli import settings as setting
from gateway.cli.client import DEFAULT_URL, Address, Client
from gateway.cli.options import PLAIN, KeyOption, UrlOption

models_app = typer.Typer(help="Fetch models, or list them.", no_args_is_help=True, **PLAIN)
cache_app = typer.Typer(help="Show the cache, prune or verify it.", no_args_is_help=True, **PLAIN)


@models_app.command("pull")
def models_pull(
    model: Annotated[str, typer.Argument(metavar="URL", help="Where the model is.")],
    folder: Annotated[str, typer.Option("--type", help="Folder of models, as loras.")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Its name in that folder.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="What it must be.")] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Fetch a model and link it where ComfyUI looks; GATEWAY_MODEL_TOKEN goes to its host."""
    # Not an option: other users of a machine can read the arguments of a process.
    token = os.environ.get("GATEWAY_MODEL_TOKEN") or None
    wanted = modelling.Wanted(model, folder, name, sha256, token)
    asyncio.run(_pull(Address(url, key), wanted))


async def _pull(address: Address, wanted: modelling.Wanted) -> None:
    from gateway.cli import screen

    with screen.download_bar(wanted.name or wanted.shown) as watch:
        async with Client.open(address) as client:
            done = await modelling.pull(client, wanted, watch)
    took = f"{done['duration']:.1f} s"
    screen.show_notes([f"{screen.size(done['size'])} in {took}."])
    screen.show_lines([f"{wanted.folder}/{done['filename']}"])


@models_app.command("ls")
def models_ls(
    folder: Annotated[str | None, typer.Argument(help="Only of this folder.")] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """List the models that ComfyUI sees, a line each."""
    asyncio.run(_models(Address(url, key), folder))


async def _models(address: Address, folder: str | None) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        screen.show_lines(await modelling.listed(client, folder))


@cache_app.command("ls")
def cache_ls(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Show the files of the cache, the one used last at the end."""
    asyncio.run(_cached(Address(url, key)))


async def _cached(address: Address) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        found = await caching.listed(client)
    columns = ("NAME", "SIZE", "LAST USED (UTC)", "PINS", "LINKS", "URL")
    screen.show_table(columns, [caching.row(file, screen.size) for file in found["files"]])
    limit = f" of {screen.size(found['limit'])}" if found["limit"] else ""
    screen.show_notes([f"{_files(len(found['files']))}, {screen.size(found['size'])}{limit}."])


@cache_app.command("prune")
def cache_prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only what no job used for so long, as 7d.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Delete the files of the cache that no job needs; prints their names."""
    age = None if older_than is None else caching.seconds(older_than)
    asyncio.run(_prune(Address(url, key), age))


async def _prune(address: Address, age: float | None) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        deleted = await caching.prune(client, age)
    screen.show_lines([file["name"] for file in deleted])
    freed = sum(file["size"] for file in deleted)
    screen.show_notes([f"{_files(len(deleted))} deleted, {screen.size(freed)} freed."])


@cache_app.command("verify")
def cache_verify() -> None:
    """Read every file of CACHE_DIR, and name those that are not what they should be."""
    from gateway.cli import screen

    checked, problems = caching.verify(setting.read().cache)
    screen.show_lines(problems)
    screen.show_notes([f"{_files(checked)} read, {len(problems)} not whole."])
    if problems:
        raise typer.Exit(1)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
