"""`gateway check`: its options."""

from __future__ import annotations

import asyncio

import typer

from gateway.cli.options import ObjectInfoOption, WorkflowArgument


def check(workflow: WorkflowArgument, object_info: ObjectInfoOption = None) -> None:
    """Say what would make the gateway refuse a workflow, without running it."""
    from gateway.cli import check as checking
    from gateway.cli import conversion, screen, workflow_file
    from gateway.cli import object_info as definitions
    from gateway.workflows.convert import CONVERTED

    held = asyncio.run(workflow_file.taken(workflow))
    if not held.is_canvas:
        # What is no graph at all is told without asking anybody.
        held.file()
    info = asyncio.run(definitions.read(object_info))
    try:
        file = conversion.here(held, info)
    except conversion.Unconverted as failure:
        screen.show_lines([failure.message, *failure.nodes])
        raise typer.Exit(1) from None
    screen.show_notes([CONVERTED, *file.notes] if held.is_canvas else [])
    found = checking.problems(file, info)
    screen.show_lines([screen.told(problem) for problem in found])
    if found:
        raise typer.Exit(1)
    count = "1 node" if len(file.workflow) == 1 else f"{len(file.workflow)} nodes"
    screen.show_lines([f"{held.source}: {count}, nothing to change."])
