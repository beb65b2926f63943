"""Workflows in Python, in the folder."""

from __future__ import annotations

from pathlib import Path

from gateway.workflows.catalog import Catalog
from gateway.workflows.scripts import Scripts
from tests.contract.workflow_folder import GRAPH, entry, put

SCRIPT = """
from pydantic import BaseModel

DESCRIPTION = "Made by code"
ROUTE = "/coded"
PRESET = "mine"

class Request(BaseModel):
    steps: int = 20

def build(request):
    return {"1": {"class_type": "A", "inputs": {"steps": request.steps}}}
"""


async def test_python_tells_what_it_is(tmp_path):
    put(tmp_path, "coded.py", SCRIPT)
    # What it may read as it likes: no workflow of its own.
    put(tmp_path, "coded.json", GRAPH)
    async with Scripts.open() as scripts:
        catalog = Catalog(tmp_path, scripts)
        await catalog.load()
        [wrong] = entry(catalog, "coded").mistakes
        assert "PRESET: there is no" in wrong.message

        put(tmp_path, "presets.yaml", "mine: {steps: 3}\n")
        await catalog.refresh()
        workflow = catalog.get("coded")
        assert (workflow.description, workflow.route, workflow.preset) == (
            "Made by code",
            "/coded",
            "mine",
        )
        assert workflow.graph is None
        assert workflow.script == Path(tmp_path / "coded.py")
        assert workflow.source == SCRIPT
        assert "steps" in (workflow.request_schema or {})["properties"]
        assert catalog.by_route("/coded") is workflow

        put(tmp_path, "coded.py", SCRIPT + "\ndef broken(:\n")
        await catalog.refresh()
        assert catalog.get("coded") is workflow
        [wrong] = entry(catalog, "coded").mistakes
        assert (wrong.file, wrong.line) == ("coded.py", 14)

        put(tmp_path, "coded.py", SCRIPT.replace("/coded", "coded"))
        await catalog.refresh()
        [wrong] = entry(catalog, "coded").mistakes
        assert "ROUTE: a route begins with /" in wrong.message
