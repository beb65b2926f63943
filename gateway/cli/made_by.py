"""What made a picture: its sidecar, and the workflow that is embedded in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import errors, graph
from gateway.cli.failure import CommandFailed

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_?")
#: What ComfyUI calls its files when nobody says.
_PREFIX = "ComfyUI"
_NODE = ("inputs", "class_type", "_meta")
_LARGEST_SIDECAR = 4 << 20


@dataclass(frozen=True)
class MadeBy:
    """What a picture tells of the job that made it."""

    #: The job's name, where a sidecar stands beside the picture.
    job_id: str | None
    #: The graph that ran, less the job's own marks; None where the picture holds none.
    workflow: graph.Graph | None


def read(picture: Path) -> MadeBy:
    """Return what a picture and its sidecar tell; raises CommandFailed where neither does."""
    if not picture.is_file():
        raise CommandFailed(f"{picture}: there is no such file.")
    sidecar = _sidecar(picture.with_name(f"{picture.name}.json"))
    job_id = sidecar.get("job_id") if sidecar else None
    workflow = _embedded(picture)
    if job_id is None and workflow is None:
        raise CommandFailed(
            f"{picture} does not tell what made it: it has no sidecar ({picture.name}.json), "
            "and no workflow is embedded in it.",
            hint="What ComfyUI saves holds it unless a program wrote the file anew.",
        )
    name = job_id if isinstance(job_id, str) else None
    return MadeBy(name, None if workflow is None else unmarked(workflow, name))


def _sidecar(file: Path) -> dict[str, Any] | None:
    try:
        if file.stat().st_size > _LARGEST_SIDECAR:
            return None
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _embedded(picture: Path) -> graph.Graph | None:
    from gateway.media import embedded

    found = embedded.workflow_in(picture)
    if found is None or found.prompt is None:
        return None
    try:
        return graph.check_shape(
            {
                node_id: {key: node[key] for key in _NODE if key in node}
                if isinstance(node, dict)
                else node
                for node_id, node in found.prompt.items()
            }
        )
    except errors.GatewayError:
        return None


def unmarked(workflow: graph.Graph, job_id: str | None) -> graph.Graph:
    """Return the graph as it was before a job put its name on the files."""
    edits: dict[tuple[str, str], Any] = {}
    for node_id, node in workflow.items():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            edits[node_id, "filename_prefix"] = _unprefixed(prefix, job_id)
    return graph.without_marks(graph.with_inputs(workflow, edits))


def _unprefixed(prefix: str, job_id: str | None) -> str:
    if job_id is not None and prefix == job_id:
        return _PREFIX
    if job_id is not None and prefix.startswith(f"{job_id}_"):
        return prefix[len(job_id) + 1 :] or _PREFIX
    found = _UUID.match(prefix)
    return (prefix[found.end() :] if found else prefix) or _PREFIX
