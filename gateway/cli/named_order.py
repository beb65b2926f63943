"""A named workflow as the flags want it: values by the names of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway import errors, graph
from gateway.cli import flags as flagging
from gateway.cli import folder_check, parameters, picture, presets, workflow_file
from gateway.cli.client import Client, parameters_hint
from gateway.cli.failure import CommandFailed
from gateway.cli.flags import Flags
from gateway.cli.order import Order
from gateway.cli.parameters import Asked
from gateway.workflows.sampling import samplers
from gateway.workflows.sampling.presets import Preset

if TYPE_CHECKING:
    from gateway.workflows.convert import Converted


async def of(client: Client, name: str, flags: Flags) -> Order:
    """Return the request that runs a workflow of the gateway.

    Raises CommandFailed for flags that are none of its parameters, Refused for an unknown name.
    """
    path = address(name)
    shown = await client.ask("GET", path)
    asked = parameters.of_schema(shown.get("parameters") or {})
    given = {**parameters.values(asked, flags), **await _pictures(asked, flags)}
    return Order(path, {**flags.fields, "input": given}, name)


def address(name: str) -> str:
    """Return the address of a named workflow; raises CommandFailed for what can be none."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise CommandFailed(
            f"There is no workflow {name!r}.", hint="`gateway workflows ls` lists all."
        )
    return f"/workflow/{quote(name)}"


async def of_file(client: Client, source: str, flags: Flags) -> Order | None:
    """Return the request that runs a file with a manifest beside it; None when there is none.

    The graph is built here, of the file as it is here: the gateway need not know it, and is asked
    only to convert it where need is. Raises CommandFailed, PresetRefused.
    """
    path = flagging.file(source)
    if graph.is_url(source) or not _has_manifest(path):
        return None
    from gateway.workflows import build, json_schema

    workflow = await folder_check.workflow(path, partial(_converted, client))
    if workflow is None:
        return None
    if workflow.graph is None:
        raise CommandFailed(f"{path} holds no graph.")
    asked = parameters.of_schema(json_schema.schema(workflow))
    given = {**parameters.values(asked, flags), **await _pictures(asked, flags)}
    name = flags.fields.get("preset") or workflow.preset
    preset = await presets.preset(client, name) if name else None
    try:
        built = build.build(workflow, given, preset, (), lambda: flagging.seed("random"))
    except errors.InvalidParameters as failure:
        hint = parameters_hint(failure.details.get("errors")) or failure.hint
        raise CommandFailed(failure.message, hint=hint) from None
    echo = {**build.used(workflow, built.workflow), **parameters.images(asked, flags)}
    return Order(
        path="/prompt",
        body={**_fields(flags.fields, built.workflow, preset), "prompt": built.workflow},
        workflow=str(path),
        input=echo,
        changes=built.changes,
        notes=[*workflow.warnings, *built.warnings],
    )


def _has_manifest(path: Path) -> bool:
    return any(path.with_suffix(suffix).is_file() for suffix in (".yaml", ".yml"))


async def _converted(client: Client, path: Path) -> Converted:
    from gateway.cli import conversion
    from gateway.workflows.convert import Converted

    found = await conversion.by_gateway(client, await workflow_file.taken(str(path)))
    return Converted(found.workflow, list(found.notes))


def _fields(fields: dict[str, Any], built: graph.Graph, preset: Preset | None) -> dict[str, Any]:
    """Return the fields of the request: with the preset only where it changes nothing more.

    It is in the graph by now; sent along, it is told in the sidecar, or undoes what a flag says.
    """
    written, _ = samplers.edits(built, preset.settings) if preset else ({}, [])
    if all(built[place.node_id]["inputs"].get(place.name) == it for place, it in written.items()):
        return fields
    return {key: value for key, value in fields.items() if key != "preset"}


async def _pictures(asked: Sequence[Asked], flags: Flags) -> dict[str, str]:
    places = parameters.images(asked, flags)
    return {name: await picture.content(source, flags.frame) for name, source in places.items()}
