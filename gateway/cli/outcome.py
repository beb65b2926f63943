"""What comes of a request: it is shown, or run, and what it makes is saved."""

from __future__ import annotations

from typing import Any

from gateway.cli import generate, job_screen, results, screen
from gateway.cli.client import Client
from gateway.cli.order import Ending, Order


async def reach(client: Client, order: Order, ending: Ending) -> None:
    """Bring a request to the end that is wanted; raises CommandFailed."""
    if ending.dry_run:
        _show_dry(await generate.dry_run(client, order), as_json=ending.as_json)
        return
    screen.show_notes(order.notes)
    with job_screen.following() as shown:
        accepted, job = await generate.make(client, order, shown, ending.preview)
    sidecars = order.body.get("metadata") is not False
    saved = await results.save(client, job, ending.output, sidecars=sidecars)
    made = generate.Made(order, accepted, job, saved)
    if ending.as_json:
        screen.show_json(made.told())
    else:
        _show(made)


def _show(made: generate.Made) -> None:
    screen.show_notes([*made.job["warnings"], *made.saved.notes])
    if made.seed is not None:
        screen.show_notes([f"seed {made.seed}"])
    screen.show_lines([str(file) for file in made.saved.files])
    screen.show_lines([text["text"] for text in made.job["texts"]])


def _show_dry(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        screen.show_json(found)
        return
    screen.show_changes(found["changes"])
    screen.show_notes(found["warnings"])
    screen.show_json(found["prompt"])
