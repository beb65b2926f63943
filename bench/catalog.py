"""500 named workflows: what a start takes, and what one change takes; best of three.

Each has a graph of 60 nodes and a manifest of 8 parameters; a second folder has the same in one
workflows.yaml over one base.yaml. Run it with: python -m bench.catalog [workflows]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.workflows.catalog import Catalog

ROUNDS = 3
NODES = 60
PARAMETERS = 8
START_BAR_S = 1.0
RELOAD_BAR_S = 0.05


def graph(number: int) -> dict[str, Any]:
    """Return a chain of nodes."""
    return {
        str(node): {
            "class_type": f"Node{node % 12}",
            "inputs": {
                "text": f"what node {node} of workflow {number} is told",
                "steps": node,
                "model": [str(node - 1), 0] if node else "sd15.safetensors",
            },
            "_meta": {"title": f"Node {node}"},
        }
        for node in range(NODES)
    }


def parameters() -> str:
    """Return the parameters of a manifest."""
    return "".join(
        f"  steps_{node}:\n"
        f"    type: integer\n    default: {node + 1}\n    min: 1\n    max: 100\n"
        f"    description: How often node {node} is run\n"
        f"    bind: {{title: Node {node}, input: steps}}\n"
        for node in range(PARAMETERS)
    )


def manifest(number: int, description: str = "As it was") -> str:
    """Return the manifest of one workflow."""
    return (
        f"description: {description} ({number})\nroute: /alias/{number}\npreset: fast\n"
        f"parameters:\n{parameters()}"
    )


def section(number: int, description: str = "As it was") -> str:
    """Return the same for workflows.yaml."""
    names = ", ".join(f"steps_{node}" for node in range(PARAMETERS))
    return (
        f"shared-{number}:\n  workflow_file: graphs/{number}.json\n"
        f"  description: {description} ({number})\n  parameters: [{names}]\n"
    )


def write_pairs(folder: Path, count: int) -> Callable[[str], None]:
    """Write two files for each workflow; return what changes one of them."""
    for number in range(count):
        (folder / f"pair-{number}.json").write_text(json.dumps(graph(number)))
        (folder / f"pair-{number}.yaml").write_text(manifest(number))
    return lambda text: _write(folder / "pair-7.yaml", manifest(7, text))


def write_shared(folder: Path, count: int) -> Callable[[str], None]:
    """Write the shared files; return what changes one workflow of them."""
    (folder / "graphs").mkdir()
    for number in range(count):
        (folder / f"graphs/{number}.json").write_text(json.dumps(graph(number)))
    (folder / "base.yaml").write_text(parameters().replace("\n  ", "\n").removeprefix("  "))
    sections = [section(number) for number in range(count)]
    _write(folder / "workflows.yaml", "".join(sections))

    def change(text: str) -> None:
        _write(folder / "workflows.yaml", "".join([*sections[:-1], section(count - 1, text)]))

    return change


def _write(path: Path, text: str) -> None:
    path.write_text(text)


async def measured(write: Callable[[Path, int], Callable[[str], None]], count: int) -> None:
    """Print what one shape of folder takes."""
    with tempfile.TemporaryDirectory() as place:
        change = write(Path(place), count)
        starts, reloads = [], []
        for number in range(ROUNDS):
            catalog = Catalog(Path(place))
            began = time.perf_counter()
            await catalog.load()
            starts.append(time.perf_counter() - began)
            assert len([one for one in catalog.entries() if one.workflow]) == count
            change(f"Changed {number}")
            version = catalog.version
            began = time.perf_counter()
            await catalog.refresh()
            reloads.append(time.perf_counter() - began)
            assert catalog.version == version + 1
    shape = write.__name__.removeprefix("write_")
    start, reload = min(starts), min(reloads) * 1000
    print(f"{shape:7} start  {start:.2f} s (bar: <= {START_BAR_S:g})")
    print(f"{shape:7} reload {reload:.0f} ms (bar: <= {RELOAD_BAR_S * 1000:g})")


async def main(count: int) -> None:
    """Measure both shapes."""
    print(f"{count} workflows of {NODES} nodes and {PARAMETERS} parameters, best of {ROUNDS}")
    for write in (write_pairs, write_shared):
        await measured(write, count)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
