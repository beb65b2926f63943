"""The page on writing a manifest: it has every field, and what it shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.workflows.catalog import Catalog
from gateway.workflows.files import manifest, parameters
from gateway.workflows.python.scripts import Scripts
from tests.contract.workflow_folder import GRAPH, put

PAGE = (Path(__file__).parents[2] / "docs/howto/workflows.md").read_text()
ROWS = [row for row in PAGE.splitlines() if row.startswith("|")]
CODED = {
    name: found
    for row in ROWS
    for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    for found in [row]
}


def block(language: str, number: int) -> str:
    """Return one of the page's blocks of code."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]


@pytest.mark.parametrize("name", [*manifest.FIELDS, *parameters.FIELDS, *parameters.KINDS], ids=str)
def test_every_field_and_type_is_in_a_table(name: str) -> None:
    assert name in CODED


async def test_what_it_shows_is_in_service(tmp_path: Path) -> None:
    put(tmp_path, "portrait.json", GRAPH)
    put(tmp_path, "graphs/portrait.json", GRAPH)
    put(tmp_path, "portrait.yaml", block("yaml", 0))
    put(tmp_path, "base.yaml", block("yaml", 2))
    put(tmp_path, "workflows.yaml", block("yaml", 3))
    put(tmp_path, "said.json", block("json", 0))
    put(tmp_path, "grid.py", block("python", 0))

    async with Scripts.open() as scripts:
        catalog = Catalog(tmp_path, scripts)
        await catalog.load()
        found = {entry.name: entry.mistakes for entry in catalog.entries()}
        grid = catalog.get("grid")
        graph = await scripts.build(grid.source or "", "grid.py", {"count": 3})

    assert found == dict.fromkeys(("grid", "portrait", "quick_portrait", "said"), ())
    assert catalog.get("quick_portrait").parameters["steps"].max == 8
    assert catalog.get("said").metadata["estimated_time"] == "4 s on an L4"
    assert len(graph) == 6
