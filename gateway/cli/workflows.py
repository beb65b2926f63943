"""`gateway workflows`: the named workflows of a gateway, as tables and texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.cli.client import Client

COLUMNS = ("NAME", "RUNS", "PARAMETERS", "DESCRIPTION")


async def listed(client: Client) -> list[dict[str, Any]]:
    """Return every workflow that the gateway has."""
    found: list[dict[str, Any]] = (await client.ask("GET", "/workflows"))["workflows"]
    return found


async def shown(client: Client, name: str) -> dict[str, Any]:
    """Return all that the gateway tells of one; raises Refused."""
    from gateway.cli import named_order

    return await client.ask("GET", named_order.address(name))


def row(workflow: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a workflow as a line of the table, as COLUMNS has it."""
    properties = (workflow.get("parameters") or {}).get("properties", {})
    return (
        workflow["name"],
        standing(workflow),
        ", ".join(properties),
        " ".join((workflow.get("description") or "").split()),
    )


def standing(workflow: Mapping[str, Any]) -> str:
    """Return whether it runs, in a word or two."""
    if workflow.get("mistakes"):
        return "has mistakes"
    if workflow.get("waits_for"):
        return "not yet"
    if workflow.get("missing_nodes"):
        return "nodes missing"
    if workflow.get("missing_models"):
        return "models missing"
    # Before ComfyUI was ready once, nobody knows.
    available = workflow.get("available")
    return "unknown" if available is None else "yes" if available else "no"


def problems(workflow: Mapping[str, Any]) -> list[str]:
    """Return what keeps a workflow from running, and warnings of it, a sentence each."""
    told = [
        f"{wrong['file']}:{wrong['line']}:{wrong['column']}: {wrong['message']}"
        for wrong in workflow.get("mistakes") or ()
    ]
    told += [f"{workflow['name']}: {sentence}" for sentence in _missing(workflow)]
    told += [f"{workflow['name']}: {sentence}" for sentence in workflow.get("warnings") or ()]
    return told


def _missing(workflow: Mapping[str, Any]) -> Iterator[str]:
    if waits_for := workflow.get("waits_for"):
        yield waits_for
    if nodes := workflow.get("missing_nodes"):
        yield f"ComfyUI has no node {', '.join(nodes)}."
    models = [f"{one['folder']}/{one['name']}" for one in workflow.get("missing_models") or ()]
    if models:
        yield f"there is no model {', '.join(models)}."
