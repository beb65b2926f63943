"""The commands and their options."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import check as checking
from gateway.cli import jobs as asking
from gateway.cli import settings as setting
from gateway.cli import workflow_file
from gateway.cli.client import DEFAULT_URL, Address, Client
from gateway.cli.model_commands import cache_app, models_app
from gateway.cli.options import PLAIN, KeyOption, UrlOption
from gateway.cli.submit import Submission

app = typer.Typer(
    name="gateway",
    help="A sidecar in front of stock ComfyUI: one request in, pictures out.",
    no_args_is_help=True,
    add_completion=False,
    **PLAIN,
)
jobs_app = typer.Typer(help="Show jobs, or cancel one.", **PLAIN)
app.add_typer(jobs_app, name="jobs")
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")

WorkflowArgument = Annotated[
    Path, typer.Argument(metavar="WORKFLOW.JSON", help='A graph in API format, or {"prompt": it}.')
]


@app.command()
def serve() -> None:
    """Run the gateway until a signal, with the settings of the environment."""
    from gateway.cli.serve import serve as run

    run()


@app.command()
def submit(
    workflow: WorkflowArgument,
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="[NODE=]FILE|URL", help="Picture for the node that loads one."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.INPUT=VALUE", help="Another value for an input."),
    ] = None,
    folder: Annotated[Path, typer.Option("-o", "--output", help="Folder for the outputs.")] = Path(
        "."
    ),
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Run a workflow and save what it makes; Ctrl-C cancels it."""
    file = workflow_file.read(workflow)
    graph, notes = workflow_file.with_values(file.workflow, values or [])
    graph = workflow_file.with_images(graph, image or [])
    asyncio.run(_submit(Address(url, key), {**file.fields, "prompt": graph}, folder, notes))


async def _submit(address: Address, body: dict[str, Any], folder: Path, notes: list[str]) -> None:
    from gateway.cli import screen

    screen.show_notes(notes)
    with screen.progress_bar() as watch:
        async with Client.open(address) as client:
            job, files = await Submission(client, body).run(folder, watch)
    screen.show_notes(job["warnings"])
    screen.show_lines([str(file) for file in files])
    screen.show_lines([text["text"] for text in job["texts"]])


@jobs_app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Show the newest jobs."""
    context.obj = Address(url, key)
    if context.invoked_subcommand is None:
        asyncio.run(_jobs(context.obj, state, limit))


async def _jobs(address: Address, state: str | None, limit: int) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        found = await asking.listed(client, state=state, limit=limit)
    columns = ("ID", "STATE", "DONE", "CREATED (UTC)", "TOOK", "OUTPUTS", "ERROR")
    screen.show_table(columns, [asking.row(job) for job in found])


@jobs_app.command("show")
def jobs_show(context: typer.Context, job_id: str) -> None:
    """Show everything about a job, as JSON."""
    asyncio.run(_show(context.obj, job_id))


async def _show(address: Address, job_id: str) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        screen.show_json(await asking.shown(client, job_id))


@jobs_app.command("cancel")
def jobs_cancel(context: typer.Context, job_id: str) -> None:
    """Cancel a job, queued or running."""
    asyncio.run(_cancel(context.obj, job_id))


async def _cancel(address: Address, job_id: str) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        screen.show_lines([f"{job_id}: {await asking.cancelled(client, job_id)}"])


@app.command()
def check(
    workflow: WorkflowArgument,
    object_info: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="What to check against; ComfyUI's own by default."),
    ] = None,
) -> None:
    """Say what would make the gateway refuse a workflow, without running it."""
    from gateway.cli import screen

    file = workflow_file.read(workflow)
    source = object_info or f"{setting.read().comfy_url}/object_info"
    found = checking.problems(file, asyncio.run(checking.object_info(source)))
    screen.show_lines([screen.told(problem) for problem in found])
    if found:
        raise typer.Exit(1)
    screen.show_lines([f"{workflow}: {len(file.workflow)} nodes, nothing to change."])


@app.command()
def config() -> None:
    """Show every setting, its value and where it came from, secrets masked."""
    from gateway.cli import screen

    screen.show_table(("SETTING", "VALUE", "FROM"), setting.read().sources())
    conflicts = setting.conflicts()
    screen.show_notes(conflicts)
    if conflicts:
        raise typer.Exit(1)
