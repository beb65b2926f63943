"""A workflow file as the flags want it: written where its samplers and loaders keep such values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway import graph
from gateway.cli import conversion, file_edits, picture, presets, workflow_file
from gateway.cli.client import Client
from gateway.cli.failure import CommandFailed
from gateway.cli.flags import OPTIONS, Flags
from gateway.cli.order import Order
from gateway.workflows import changes
from gateway.workflows.sampling import samplers

Edits = dict[tuple[str, str], Any]


async def of(client: Client, source: str, flags: Flags) -> Order:
    """Return the request that runs a file or what a URL holds.

    Raises CommandFailed for flags that have no place.
    """
    held = await workflow_file.taken(source)
    file = await conversion.by_gateway(client, held)
    fields = {**file.fields, **flags.fields}
    given, notes = file_edits.edits_of(file.workflow, flags.values)
    edits: Edits = {**settings_edits(file.workflow, flags.settings), **given}
    places = file_edits.image_places(file.workflow, flags.images, "--input-image")
    for place, image in places.items():
        edits[place] = await picture.content(image, flags.frame)
    edits, fields = await _with_preset(client, file.workflow, edits, fields)
    edited = graph.with_inputs(file.workflow, edits)
    return Order(
        path="/prompt",
        body={**fields, "prompt": edited},
        workflow=held.source,
        input={
            **flags.settings,
            **{f"{node}.{name}": value for (node, name), value in given.items()},
        },
        changes=changes.told(file.workflow, edited),
        notes=[*file.notes, *notes],
    )


def settings_edits(workflow: graph.Graph, settings: Mapping[str, Any]) -> Edits:
    """Return what to write for the flags; raises CommandFailed for those that have no place."""
    edits, missing = samplers.edits(workflow, settings)
    if missing:
        raise CommandFailed(_unplaced(workflow, missing), hint=_HINT)
    return {(node_id, name): value for (node_id, name), value in edits.items()}


_HINT = "Write it where it belongs: --set NODE.INPUT=VALUE."


def _unplaced(workflow: graph.Graph, missing: Sequence[str]) -> str:
    options = ", ".join(OPTIONS[name] for name in missing)
    if not samplers.samplers(workflow):
        return f"The workflow has no sampler that {options} could be for."
    return f"No sampler of the workflow tells where {options} belongs."


async def _with_preset(
    client: Client, workflow: graph.Graph, edits: Edits, fields: dict[str, Any]
) -> tuple[Edits, dict[str, Any]]:
    """Return what to write, and the fields, where a preset would undo what a flag says.

    The gateway applies a preset to the graph it is sent: it cannot know what was a flag.
    """
    name = fields.get("preset")
    if name is None or not edits:
        return edits, fields
    settings = (await presets.preset(client, name)).settings
    written, _ = samplers.edits(graph.with_inputs(workflow, edits), settings)
    if edits.keys().isdisjoint(written):
        return edits, fields
    kept = {(place.node_id, place.name): value for place, value in written.items()}
    return {**kept, **edits}, {key: value for key, value in fields.items() if key != "preset"}
