"""The shape of a graph: jobs of one shape take about the same time; pure."""

from __future__ import annotations

import hashlib

from gateway.graph import Graph, is_link


def shape_of(graph: Graph) -> int:
    """Return a number for the graph's classes and links: literal values do not count.

    Positive, and below 2^63: it fits a database's integer.
    """
    told: list[str] = []
    for node_id in sorted(graph):
        node = graph[node_id]
        links = [
            f"{name}<{value[0]}.{value[1]}"
            for name, value in (node.get("inputs") or {}).items()
            # The type first: most values are no lists, and this runs for every job.
            if type(value) is list and is_link(value)
        ]
        links.sort()
        told.append(f"{node_id}={node.get('class_type')}({','.join(links)})")
    digest = hashlib.blake2b("\n".join(told).encode(errors="surrogatepass"), digest_size=8)
    return (int.from_bytes(digest.digest()) >> 1) or 1
