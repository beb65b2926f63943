"""What made a picture: its sidecar, and the workflow that is embedded in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import errors, graph
from gateway.cli.failure import CommandFailed

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
    return MadeBy(name, None if workflow is None else graph.unmarked(workflow, name))


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
        return graph.check_shape(found.prompt)
    except errors.GatewayError:
        return None
