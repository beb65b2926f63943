"""`gateway jobs`: its commands and options."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from gateway.cli import jobs as asking
from gateway.cli.client import DEFAULT_URL, Address, Client, Refused
from gateway.cli.options import PLAIN, KeyOption, PreviewOption, UrlOption
from gateway.cli.watch import Watch, Wishes, failure

jobs_app = typer.Typer(help="Show jobs, watch one, or cancel some.", **PLAIN)


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
    screen.show_table(asking.COLUMNS, [asking.row(job) for job in found])


@jobs_app.command("show")
def jobs_show(context: typer.Context, job_id: str) -> None:
    """Show everything about a job, as JSON."""
    asyncio.run(_show(context.obj, job_id))


async def _show(address: Address, job_id: str) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        screen.show_json(await asking.shown(client, job_id))


@jobs_app.command("watch")
def jobs_watch(
    context: typer.Context,
    job_id: str,
    preview: PreviewOption = None,
    logs: Annotated[bool, typer.Option("--logs", help="Print the log lines of the run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events, one a line.")] = False,
) -> None:
    """Follow a job until it is over; Ctrl-C leaves it running."""
    asyncio.run(_watch(context.obj, job_id, Wishes(logs, True, preview), as_json))


async def _watch(address: Address, job_id: str, wishes: Wishes, as_json: bool) -> None:
    from gateway.cli import job_screen

    with job_screen.watching(as_json=as_json) as shown:
        async with Client.open(address) as client:
            job = await Watch(client, shown, wishes).run(job_id)
    if (failed := failure(job)) is not None:
        raise failed
    job_screen.show_end(job, as_json=as_json)


@jobs_app.command("cancel")
def jobs_cancel(
    context: typer.Context,
    job_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Which ones.")],
) -> None:
    """Cancel jobs, queued or running."""
    asyncio.run(_cancel(context.obj, job_ids))


async def _cancel(address: Address, job_ids: list[str]) -> None:
    from gateway.cli import screen

    refused: list[Refused] = []
    async with Client.open(address) as client:
        for job_id in job_ids:
            try:
                screen.show_lines([f"{job_id}: {await asking.cancelled(client, job_id)}"])
            except Refused as failed:
                refused.append(failed)
    if refused:
        raise asking.together(refused)
