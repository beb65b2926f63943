"""`gateway webhooks`: its commands and options."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import webhooks as telling
from gateway.cli.client import DEFAULT_URL, Address, Client, Refused
from gateway.cli.failure import CommandFailed
from gateway.cli.options import PLAIN, KeyOption, UrlOption

webhooks_app = typer.Typer(
    help="Show webhooks, send some again, or verify one.", no_args_is_help=True, **PLAIN
)


@webhooks_app.command("ls")
def webhooks_ls(
    state: Annotated[str | None, typer.Option(help="pending, delivered or dead.")] = None,
    job: Annotated[str | None, typer.Option(metavar="ID", help="Only about this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Show the newest webhooks, and what became of them."""
    asyncio.run(_listed(Address(url, key), state, job, limit))


async def _listed(address: Address, state: str | None, job: str | None, limit: int) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        found = await telling.listed(client, state=state, job=job, limit=limit)
    screen.show_table(telling.COLUMNS, [telling.row(delivery) for delivery in found])


@webhooks_app.command("replay")
def webhooks_replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All dead letters.")] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Send webhooks again, at once; prints the ids of their deliveries."""
    if bool(ids) is dead:
        told = "Ids or --dead, not both." if dead else "Nothing to send again."
        raise CommandFailed(told, hint="Give ids, or --dead for all dead letters.")
    asyncio.run(_replayed(Address(url, key), ids or []))


async def _replayed(address: Address, ids: list[str]) -> None:
    from gateway.cli import screen

    refused: list[str] = []
    async with Client.open(address) as client:
        for delivery_id in ids or [found async for found in telling.dead(client)]:
            try:
                await telling.replayed(client, delivery_id)
            except Refused as failure:
                # A dead letter may have been forgotten since it was listed.
                if failure.status != 404:
                    raise
                refused.append(failure.message)
            else:
                screen.show_lines([delivery_id])
    screen.show_notes(refused)
    if refused and ids:
        raise typer.Exit(1)


@webhooks_app.command("verify")
def webhooks_verify(  # noqa: PLR0913, PLR0917 - the three headers of a call are an option each
    body: Annotated[str, typer.Argument(metavar="BODY|-", help="The body's bytes, in a file.")],
    header_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The call's headers, a line each.")
    ] = None,
    message_id: Annotated[str | None, typer.Option("--id", help="webhook-id.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="webhook-timestamp.")] = None,
    signature: Annotated[str | None, typer.Option(help="webhook-signature.")] = None,
    secret: Annotated[
        str | None, typer.Option(envvar="WEBHOOK_SECRET", help="What it was signed with.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How old it may be; 0: any age.")
    ] = 300,
) -> None:
    """Say whether a call is signed with the secret, and fresh."""
    from gateway.cli import screen

    if not secret:
        raise CommandFailed(
            "There is no secret to verify with.", hint="Put it into the variable WEBHOOK_SECRET."
        )
    given = {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
    heard = telling.Heard.read(body, header_file, given)
    problem = telling.problem(heard, secret, tolerance)
    if problem is not None:
        screen.show_lines([f"not valid: {problem}"])
        raise typer.Exit(1)
    screen.show_lines(["valid"])
