"""`gateway submit`: its options."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import workflow_file
from gateway.cli.client import DEFAULT_URL, Address, Client
from gateway.cli.failure import CommandFailed
from gateway.cli.options import KeyOption, PreviewOption, UrlOption, WorkflowArgument
from gateway.cli.submit import Submission
from gateway.cli.watch import Watch, Wishes, failure


@dataclass(frozen=True)
class _Order:
    """What is submitted, and what is done with what comes of it."""

    body: dict[str, Any]
    folder: Path
    preview: Path | None
    notes: list[str]


def submit(  # noqa: PLR0913, PLR0917 - each is an option of the command
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
    is_async: Annotated[
        bool, typer.Option("--async", help="Print the job's id once it is accepted, and return.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --async: wait for it; Ctrl-C leaves it running.")
    ] = False,
    preview: PreviewOption = None,
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Who is called when it is over; implies --async."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="Higher ones come first.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Run a workflow and save what it makes; Ctrl-C cancels it."""
    is_async = is_async or webhook is not None
    _check(is_async=is_async, follow=follow, preview=preview)
    file = workflow_file.read(workflow)
    graph, notes = workflow_file.with_values(file.workflow, values or [])
    given = {"webhook_v2": webhook, "priority": priority}
    body = {
        **file.fields,
        **{name: value for name, value in given.items() if value is not None},
        "prompt": workflow_file.with_images(graph, image or []),
    }
    order = _Order(body, folder, preview, notes)
    run = _followed if follow else _sent if is_async else _awaited
    asyncio.run(run(Address(url, key), order))


def _check(*, is_async: bool, follow: bool, preview: Path | None) -> None:
    if follow and not is_async:
        raise CommandFailed(
            "--follow goes with --async.",
            hint="Without --async, submit waits for the job anyway, and Ctrl-C cancels it.",
        )
    if preview is not None and not follow:
        raise CommandFailed("--preview needs a job that is followed.", hint="Add --async --follow.")


async def _sent(address: Address, order: _Order) -> None:
    from gateway.cli import screen

    screen.show_notes(order.notes)
    async with Client.open(address) as client:
        screen.show_lines([await Submission(client, order.body).send()])


async def _awaited(address: Address, order: _Order) -> None:
    from gateway.cli import job_screen, screen

    screen.show_notes(order.notes)
    with job_screen.waiting() as watch:
        async with Client.open(address) as client:
            job, files = await Submission(client, order.body).run(order.folder, watch)
    _show(job, files)


async def _followed(address: Address, order: _Order) -> None:
    from gateway.cli import job_screen, screen

    screen.show_notes(order.notes)
    async with Client.open(address) as client:
        submission = Submission(client, order.body)
        job_id = await submission.send()
        screen.show_notes([f"job {job_id}"])
        try:
            with job_screen.following() as shown:
                watch = Watch(client, shown, Wishes(outputs=False, preview=order.preview))
                job = await watch.run(job_id, is_known=True)
        except (asyncio.CancelledError, CommandFailed):
            where = "" if address.url == DEFAULT_URL else f" --url {address.url}"
            screen.show_notes([f"It goes on; to watch it: gateway jobs{where} watch {job_id}"])
            raise
        if (failed := failure(job)) is not None:
            raise failed
        files = await submission.collect(job, order.folder)
    _show(job, files)


def _show(job: dict[str, Any], files: list[Path]) -> None:
    from gateway.cli import screen

    screen.show_notes(job["warnings"])
    screen.show_lines([str(file) for file in files])
    screen.show_lines([text["text"] for text in job["texts"]])
