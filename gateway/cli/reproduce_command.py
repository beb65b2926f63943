"""`gateway reproduce`: its options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import graph
from gateway.cli import flags as flagging
from gateway.cli import local_gateway, results
from gateway.cli.client import Client, Refused, job_path
from gateway.cli.failure import CommandFailed
from gateway.cli.flags import OPTIONS
from gateway.cli.generate_command import given, read
from gateway.cli.options import (
    DryRunOption,
    JsonOption,
    KeyOption,
    LocalUrlOption,
    NoMetadataOption,
    OutputOption,
    PreviewOption,
)
from gateway.cli.order import Ending, Order

if TYPE_CHECKING:
    from gateway.cli.made_by import MadeBy
    from gateway.cli.workflow_file import Held

_OF_CANVAS = "It does not hold the graph that ran: its canvas is run, with the seeds of its saving."


@dataclass(frozen=True)
class Wanted:
    """What is made again, and what is to be otherwise."""

    source: str
    #: By NODE.INPUT, or by what a sampler calls it.
    overrides: dict[str, Any]
    #: The same, as written.
    values: Sequence[str]
    fields: dict[str, Any]


def reproduce(  # noqa: PLR0913, PLR0917 - each is an option of the command
    source: Annotated[str, typer.Argument(metavar="FILE|JOB_ID", help="What is made again.")],
    seed: Annotated[
        str | None, typer.Option(metavar="NUMBER|random", help="Another seed; -1 is random too.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="As steps=30, or NODE.INPUT=VALUE."),
    ] = None,
    output: OutputOption = ".",
    no_metadata: NoMetadataOption = False,
    dry_run: DryRunOption = False,
    preview: PreviewOption = None,
    as_json: JsonOption = False,
    url: LocalUrlOption = None,
    key: KeyOption = None,
) -> None:
    """Run the very graph again that made a file, by its sidecar or by what it holds."""
    number = read("--seed", flagging.seed, seed)
    assigned = [*(values or []), *([f"seed={number}"] if number is not None else [])]
    fields = given(
        {
            "metadata": False if no_metadata else None,
            "convert_output": results.conversion(output),
        }
    )
    overrides = dict(_assignment(text) for text in assigned)
    wanted = Wanted(source, overrides, assigned, fields)
    ending = Ending(output, preview, dry_run, as_json)
    local_gateway.run(_reproduced(wanted, ending, url, key))


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    if name in ("prompt", "negative_prompt"):
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


async def _reproduced(wanted: Wanted, ending: Ending, url: str | None, key: str | None) -> None:
    from gateway.cli import outcome

    if not _is_file(Path(wanted.source)):
        async with local_gateway.reached(url, key) as client:
            await outcome.reach(client, _of_job(wanted, wanted.source), ending)
        return
    told, canvas = _read(Path(wanted.source))
    async with local_gateway.reached(url, key) as client:
        order = await _of_picture(client, wanted, told, canvas)
        await outcome.reach(client, order, ending)


def _is_file(path: Path) -> bool:
    """Whether the argument means a file, be it there or not: the name of a job has no ending."""
    return path.is_file() or "/" in str(path) or flagging.is_media(path)


def _read(file: Path) -> tuple[MadeBy, Held | None]:
    """Return what a file tells, and the canvas in it where it holds no graph that ran."""
    from gateway.cli import made_by

    try:
        told = made_by.read(file)
    except CommandFailed:
        canvas = _canvas(file)
        if canvas is None:
            raise
        return made_by.MadeBy(None, None), canvas
    return told, None if told.workflow else _canvas(file)


def _canvas(file: Path) -> Held | None:
    from gateway.cli import workflow_file

    try:
        held = workflow_file.held(file)
    except CommandFailed:
        return None
    return held if held.is_embedded and held.is_canvas else None


async def _of_picture(client: Client, wanted: Wanted, told: MadeBy, canvas: Held | None) -> Order:
    from gateway.cli import conversion

    if told.job_id is not None and await _is_known(client, told.job_id):
        return _of_job(wanted, told.job_id)
    if canvas is not None:
        file = await conversion.by_gateway(client, canvas)
        return _of_graph(wanted, file.workflow, [_OF_CANVAS, *file.notes])
    if told.workflow is None:
        raise CommandFailed(
            f"The gateway does not know the job {told.job_id} any more, "
            f"and {wanted.source} holds no workflow.",
            hint="Records stay for JOB_TTL_S after the end.",
        )
    return _of_graph(wanted, told.workflow, [])


async def _is_known(client: Client, job_id: str) -> bool:
    try:
        await client.ask("GET", job_path(job_id))
    except Refused as refused:
        if refused.status != 404:
            raise
        return False
    return True


def _of_job(wanted: Wanted, job_id: str) -> Order:
    body = {**wanted.fields, "overrides": wanted.overrides}
    return Order(f"{job_path(job_id)}/reproduce", body, wanted.source, wanted.overrides)


def _of_graph(wanted: Wanted, workflow: graph.Graph, said: Sequence[str]) -> Order:
    from gateway.cli import file_edits, file_order
    from gateway.workflows import changes

    settings = {name: value for name, value in wanted.overrides.items() if name in OPTIONS}
    others = [text for text in wanted.values if text.partition("=")[0] not in OPTIONS]
    written, notes = file_edits.edits_of(workflow, others)
    edits = {**file_order.settings_edits(workflow, settings), **written}
    edited = graph.with_inputs(workflow, edits)
    told = changes.told(workflow, edited)
    body = {**wanted.fields, "prompt": edited}
    return Order("/prompt", body, wanted.source, wanted.overrides, told, [*said, *notes])
