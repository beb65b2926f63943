"""`gateway check`: would ComfyUI take this workflow?"""

from __future__ import annotations

from typing import Any

from gateway import errors, graph, schemas
from gateway.cli.workflow_file import WorkflowFile
from gateway.comfy import nodes


def problems(file: WorkflowFile, info: dict[str, Any]) -> list[errors.GatewayError]:
    """Return everything that would make the gateway refuse the workflow."""
    found = list(_of_request(file))
    catalog = nodes.Catalog()
    catalog.replace(info)
    try:
        reported = nodes.check(file.workflow, catalog)
    except errors.NoOutput as failure:
        return [*found, failure]
    return [*found, *(nodes.refusal([problem], file.workflow) for problem in reported)]


def _of_request(file: WorkflowFile) -> list[errors.GatewayError]:
    found: list[errors.GatewayError] = []
    for node_id, node in file.workflow.items():
        try:
            graph.check_prefixes({node_id: node})
        except errors.InvalidInput as failure:
            found.append(failure)
    try:
        schemas.parse(schemas.PromptRequest, file.body, strict=False)
    except errors.GatewayError as failure:
        found.append(failure)
    return found
