"""A prompt as the client posts it: node id -> class_type and inputs; and who feeds whom."""

from __future__ import annotations

from typing import Any, TypeAlias

Graph: TypeAlias = dict[str, dict[str, Any]]


def is_link(value: Any) -> bool:
    """Whether an input is taken from another node: [node id, output slot]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def sources(inputs: dict[str, Any]) -> list[str]:
    """The nodes that feed these inputs, once for each link, in the order of the inputs."""
    return [value[0] for value in inputs.values() if is_link(value)]
