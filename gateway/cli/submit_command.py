"""`gateway submit`: its options."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import file_edits, workflow_file
from gateway.cli.client import DEFAULT_URL, Address, Client
from gateway.cli.failure import CommandFailed
from gateway.cli.options import KeyOption, PreviewOption, UrlOption, WorkflowArgument
from gateway.cli.submit import Submission
from gateway.cli.watch import Watch, Wishes, failure
from gateway.cli.workflow_file import Held


@dataclass(frozen=True)
class _Wanted:
    """What is submitted, and what is done with what comes of it."""

    held: Held
    #: `--set` and `--image`, as written.
    values: list[str]
    images: list[str]
    #: Fields of the request.
    fields: dict[str, Any]
    folder: Path
    preview: Path | None


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
    given = {"webhook_v2": webhook, "priority": priority}
    fields = {name: value for name, value in given.items() if value is not None}
    held = asyncio.run(workflow_file.taken(workflow))
    wanted = _Wanted(held, values or [], image or [], fields, folder, preview)
    run = _followed if follow else _sent if is_async else _awaited
    asyncio.run(run(Address(url, key), wanted))


def _check(*, is_async: bool, follow: bool, preview: Path | None) -> None:
    if follow and not is_async:
        raise CommandFailed(
            "--follow goes with --async.",
            hint="Without --async, submit waits for the job anyway, and Ctrl-C cancels it.",
        )
    if preview is not None and not follow:
        raise CommandFailed("--preview needs a job that is followed.", hint="Add --async --follow.")


async def _submission(client: Client, wanted: _Wanted) -> Submission:
    """Return what is sent, of a graph that the gateway made of it where it is none yet."""
    from gateway.cli import conversion, screen

    file = await conversion.by_gateway(client, wanted.held)
    graph, notes = file_edits.with_values(file.workflow, wanted.values)
    graph = file_edits.with_images(graph, wanted.images)
    screen.show_notes([*file.notes, *notes])
    return Submission(client, {**file.fields, **wanted.fields, "prompt": graph})


async def _sent(address: Address, wanted: _Wanted) -> None:
    from gateway.cli import screen

    async with Client.open(address) as client:
        submission = await _submission(client, wanted)
        screen.show_lines([await submission.send()])


async def _awaited(address: Address, wanted: _Wanted) -> None:
    from gateway.cli import job_screen

    async with Client.open(address) as client:
        submission = await _submission(client, wanted)
        with job_screen.waiting() as watch:
            job, files = await submission.run(wanted.folder, watch)
    _show(job, files)


async def _followed(address: Address, wanted: _Wanted) -> None:
    from gateway.cli import job_screen, screen

    async with Client.open(address) as client:
        submission = await _submission(client, wanted)
        job_id = await submission.send()
        screen.show_notes([f"job {job_id}"])
        try:
            with job_screen.following() as shown:
                watch = Watch(client, shown, Wishes(outputs=False, preview=wanted.preview))
                job = await watch.run(job_id, is_known=True)
        except (asyncio.CancelledError, CommandFailed):
            where = "" if address.url == DEFAULT_URL else f" --url {address.url}"
            screen.show_notes([f"It goes on; to watch it: gateway jobs{where} watch {job_id}"])
            raise
        if (failed := failure(job)) is not None:
            raise failed
        files = await submission.collect(job, wanted.folder)
    _show(job, files)


def _show(job: dict[str, Any], files: list[Path]) -> None:
    from gateway.cli import screen

    screen.show_notes(job["warnings"])
    screen.show_lines([str(file) for file in files])
    screen.show_lines([text["text"] for text in job["texts"]])
