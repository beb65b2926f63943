"""Workflows as the canvas saves them, brought into the API format; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway import errors, graph


class Converted(NamedTuple):
    """A graph in API format, and what is worth knowing about how it came about."""

    graph: graph.Graph
    warnings: list[str]


def convert(ui: Mapping[str, Any], object_info: Mapping[str, Any]) -> Converted:
    """Return what the official frontend would send to `/prompt` for a workflow.

    `object_info` is the mapping of `/object_info`: class -> definition. Raises NotConvertible with
    each node of which something cannot be known, InvalidRequest for what is no workflow at all.
    """
    raise errors.NotConvertible
