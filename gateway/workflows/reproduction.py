"""The graph of a job, as it would be sent to run again; pure."""

from __future__ import annotations

from typing import Any

from gateway import graph
from gateway.jobs.job import Job

#: What ComfyUI's own savers begin a name with.
_PREFIX = "ComfyUI"


def as_sent(job: Job, input_folder: str) -> graph.Graph:
    """Return the graph that ran, or that waits, less what was made of it for this job alone.

    URLs stand again where the files are that they became.
    """
    edits: dict[tuple[str, str], Any] = dict(_folders(job.graph, input_folder))
    if "outputs" not in job.result:
        # It never came so far: its graph is as it was accepted.
        return graph.with_inputs(job.graph, edits)
    ran = graph.without_marks(job.graph)
    edits |= _prefixes(ran, job.id)
    for node_id, inputs in job.result.get("sources", {}).items():
        edits |= {(node_id, name): value for name, value in inputs.items()}
    edits |= {(one["node_id"], one["name"]): one["url"] for one in job.models}
    return graph.with_inputs(ran, {place: edits[place] for place in edits if place[0] in ran})


def _prefixes(ran: graph.Graph, job_id: str) -> dict[tuple[str, str], Any]:
    found = {}
    for node_id, node in ran.items():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            # With PREPEND_FILENAMES=false, its own was not kept.
            own = _PREFIX if prefix == job_id else prefix.removeprefix(f"{job_id}_")
            found[node_id, "filename_prefix"] = own
    return found


def _folders(accepted: graph.Graph, input_folder: str) -> dict[tuple[str, str], Any]:
    """Return the names of folders where their paths stand, as ComfyUI's loader by path wants it."""
    found = {}
    for node_id, node in accepted.items():
        value = node.get("inputs", {}).get("directory")
        if graph.FOLDER_LOADERS.get(node["class_type"]) and isinstance(value, str):
            found[node_id, "directory"] = value.removeprefix(f"{input_folder}/")
    return found
