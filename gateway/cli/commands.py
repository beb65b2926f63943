"""The commands and their options."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="gateway",
    help="A sidecar in front of stock ComfyUI: one request in, pictures out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _top() -> None:
    """Keep `serve` a command of its own while it is the only one."""


@app.command()
def serve() -> None:
    """Run the gateway until a signal, with the settings of the environment."""
    from gateway.cli.serve import serve as run

    run()
