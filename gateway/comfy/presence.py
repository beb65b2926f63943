"""What a graph needs that this ComfyUI lacks; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway import graph
from gateway.comfy.nodes import Catalog, NodeClass

#: How a graph says that a loader of its loads nothing.
_NOTHING = ("", "None")


@dataclass(frozen=True)
class Missing:
    """Classes of nodes, and models by their folder."""

    nodes: list[str] = field(default_factory=list)
    models: list[dict[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.models)


def missing(workflow: graph.Graph, catalog: Catalog) -> Missing:
    """Return the classes and models of a graph that ComfyUI did not list when last asked.

    A model that is named by URL is fetched when it is needed, and is not missing.
    """
    nodes: dict[str, None] = {}
    models: dict[tuple[str, str], None] = {}
    for node in workflow.values():
        known = catalog.get(node["class_type"])
        if known is None:
            nodes[node["class_type"]] = None
            continue
        models |= dict.fromkeys(_unlisted(known, node.get("inputs", {})))
    return Missing(
        sorted(nodes), [{"folder": folder, "name": name} for folder, name in sorted(models)]
    )


def _unlisted(known: NodeClass, inputs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, folder in known.model_folders.items():
        value, listed = inputs.get(name), known.choices.get(name)
        if not isinstance(value, str) or value in _NOTHING or graph.is_url(value):
            continue
        if listed is not None and value not in listed:
            yield folder, value
