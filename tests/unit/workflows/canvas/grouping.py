"""Builders of files with legacy group nodes."""

from __future__ import annotations

from typing import Any

from tests.unit.workflows.canvas.classes import Json, Link, canvas, node


def group(*nodes: Json, links: Any = (), external: Any = (), config: Any = None) -> Json:
    """Return a definition; a link is (node, output, node, input, type), counted from 0."""
    saved: Json = {
        "nodes": [{**one, "id": -1, "index": index} for index, one in enumerate(nodes)],
        "links": [[*one[:4], -1, *one[4:]] for one in links],
        "external": [list(one) for one in external],
    }
    return saved if config is None else {**saved, "config": config}


def inner(kind: str, values: Any = None, **more: Any) -> Json:
    return node(-1, kind, values, **more)


def converted(kind: str, *names: str, values: Any = None, **more: Any) -> Json:
    """Return a node within, some of whose widgets have a slot."""
    made = inner(kind, values, **more)
    made["inputs"] += [{"name": one, "type": "INT", "widget": {"name": one}} for one in names]
    return made


def used(node_id: Any, name: str, values: Any = None, inputs: Any = (), **more: Any) -> Json:
    """Return a group node with sockets of some names."""
    slots = [{"name": one, "type": "*", "link": None} for one in inputs]
    kind = more.pop("type", f"workflow>{name}")
    return node(node_id, kind, values, inputs=slots, outputs=[], **more)


def file(*nodes: Json, groups: Json, wires: list[Link] | None = None) -> Json:
    """Return a file with the definitions of its group nodes."""
    return canvas(*nodes, wires=wires, extra={"groupNodes": groups})


def latent(width: Any, height: Any, count: Any) -> tuple[str, Json]:
    return "Latent", {"width": width, "height": height, "count": count}


def single(values: Any, *nodes: Json, **definition: Any) -> Json:
    return file(used(1, "one", values), groups={"one": group(*nodes, **definition)})
