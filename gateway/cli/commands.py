"""The commands and their options."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from gateway.cli import check as checking
from gateway.cli import settings as setting
from gateway.cli import workflow_file
from gateway.cli.generate_command import generate
from gateway.cli.job_commands import jobs_app
from gateway.cli.model_commands import cache_app, models_app
from gateway.cli.options import PLAIN, WorkflowArgument
from gateway.cli.reproduce_command import reproduce
from gateway.cli.submit_command import submit
from gateway.cli.webhook_commands import webhooks_app
from gateway.cli.workflow_commands import workflows_app

app = typer.Typer(
    name="gateway",
    help="A sidecar in front of stock ComfyUI: one request in, pictures out.",
    no_args_is_help=True,
    add_completion=False,
    **PLAIN,
)
app.command()(submit)
app.command()(generate)
app.command()(reproduce)
app.add_typer(workflows_app, name="workflows")
app.add_typer(jobs_app, name="jobs")
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.add_typer(webhooks_app, name="webhooks")


@app.command()
def serve() -> None:
    """Run the gateway until a signal, with the settings of the environment."""
    from gateway.cli.serve import serve as run

    run()


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

    screen.show_table(("SETTING", "VALUE", "FROM"), setting.sources(setting.read()))
    conflicts = setting.conflicts()
    screen.show_notes(conflicts)
    if conflicts:
        raise typer.Exit(1)
