"""The commands and their options."""

from __future__ import annotations

import typer

from gateway.cli.check_command import check
from gateway.cli.convert_command import convert
from gateway.cli.generate_command import generate
from gateway.cli.job_commands import jobs_app
from gateway.cli.model_commands import cache_app, models_app
from gateway.cli.options import PLAIN
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
app.command()(convert)
app.command()(check)
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
def config() -> None:
    """Show every setting, its value and where it came from, secrets masked."""
    from gateway.cli import screen
    from gateway.cli import settings as setting

    screen.show_table(("SETTING", "VALUE", "FROM"), setting.sources(setting.read()))
    conflicts = setting.conflicts()
    screen.show_notes(conflicts)
    if conflicts:
        raise typer.Exit(1)
