"""Workflows in Python, in the folder."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from gateway import errors
from gateway.workflows.catalog import Catalog
from gateway.workflows.python.scripts import Scripts
from tests.contract.workflow_folder import GRAPH, entry, put
from tests.waiting import wait_until

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


def _names(catalog: Catalog) -> list[str]:
    return [one.name for one in catalog.entries()]


async def test_python_that_hangs_holds_up_no_other_file(tmp_path):
    put(tmp_path, "graph.json", GRAPH)
    put(tmp_path, "hangs.py", "import time\ntime.sleep(60)\n")
    async with Scripts.open(timeout_s=4) as scripts:
        catalog = Catalog(tmp_path, scripts)
        await catalog.load(patience_s=0.1)
        assert _names(catalog) == ["graph"]
        with pytest.raises(errors.WorkflowBroken, match="not looked into yet"):
            catalog.get("hangs")

        following = asyncio.create_task(catalog.run())
        put(tmp_path, "saved.json", GRAPH)
        await wait_until(lambda: "saved" in _names(catalog), description="it is live")
        assert "hangs" not in _names(catalog)
        put(tmp_path, "coded.py", SCRIPT.replace("mine", "draft"))
        await wait_until(lambda: "coded" in _names(catalog), description="code is live, too")
        [wrong] = entry(catalog, "hangs").mistakes
        assert "longer than 4 s" in wrong.message
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
