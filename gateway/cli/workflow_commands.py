"""`gateway workflows`: its commands and options."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import fetching
from gateway.cli import flags as flagging
from gateway.cli import workflows as asking
from gateway.cli.client import DEFAULT_URL, Address, Client
from gateway.cli.failure import CommandFailed
from gateway.cli.options import PLAIN, KeyOption, ObjectInfoOption, UrlOption, WorkflowArgument

workflows_app = typer.Typer(
    help="Show the named workflows, check their files, or begin one.", no_args_is_help=True, **PLAIN
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print what the gateway answers.")]


@workflows_app.command("ls")
def workflows_ls(
    as_json: JsonOption = False, url: UrlOption = DEFAULT_URL, key: KeyOption = None
) -> None:
    """List the workflows of a gateway, and whether its ComfyUI can run them."""
    asyncio.run(_listed(Address(url, key), as_json=as_json))


async def _listed(address: Address, *, as_json: bool) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        found = await asking.listed(client)
    if as_json:
        screen.show_json({"workflows": found})
        return
    screen.show_table(asking.COLUMNS, [asking.row(workflow) for workflow in found])
    screen.show_notes([problem for workflow in found for problem in asking.problems(workflow)])


@workflows_app.command("show")
def workflows_show(name: str, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Show everything about a workflow, its graph too, as JSON."""
    asyncio.run(_shown(Address(url, key), name))


async def _shown(address: Address, name: str) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        screen.show_json(await asking.shown(client, name))


@workflows_app.command("check")
def workflows_check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER|FILE]...", help="WORKFLOW_DIR when not given."),
    ] = None,
    object_info: Annotated[
        str | None,
        typer.Option(
            "--object-info",
            metavar="FILE|URL",
            help="ComfyUI's /object_info; without it, files of the canvas are not checked.",
        ),
    ] = None,
) -> None:
    """Say what is wrong in workflows and manifests; needs no running gateway."""
    from gateway.cli import folder_check, screen
    from gateway.cli import settings as setting

    folders = paths or [setting.read().workflow_dir]
    found = asyncio.run(folder_check.check(folders, object_info))
    screen.show_notes(found.notes)
    screen.show_lines(found.mistakes)
    if found.mistakes:
        raise typer.Exit(1)
    if found.unchecked and not found.workflows:
        raise CommandFailed(
            "Nothing was checked.", hint="Give --object-info: ComfyUI's address, or a file of it."
        )
    screen.show_lines([found.told])


@workflows_app.command("new")
def workflows_new(
    file: WorkflowArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where it is written.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also over a file that is there.")] = False,
    object_info: ObjectInfoOption = None,
) -> None:
    """Propose a manifest for a workflow: what in it is worth a parameter."""
    from gateway.cli import conversion, screen, workflow_file
    from gateway.workflows import proposal_text

    found = conversion.by_object_info(asyncio.run(workflow_file.taken(file)), object_info)
    screen.show_notes(found.notes)
    text = proposal_text.manifest(found.workflow, _named(file, output))
    if output is None:
        screen.show_text(text)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise CommandFailed(f"{output} is there already.", hint="--force writes over it.") from None
    except OSError as failure:
        raise CommandFailed(f"{output}: {failure.strerror}.") from None
    screen.show_lines([str(output)])


def _named(source: str, output: Path | None) -> str | None:
    """Return `workflow_file` of a manifest, where the workflow is not the file of its name."""
    file = flagging.file(source)
    if fetching.is_url(source):
        return None
    if file.suffix != ".json" and not flagging.is_media(file):
        return None
    manifest = output or file.with_suffix(".yaml")
    named = Path(os.path.relpath(file.absolute(), manifest.absolute().parent))
    if ".." in named.parts or named == Path(manifest.name).with_suffix(".json"):
        return None
    return named.as_posix()
