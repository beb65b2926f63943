"""The folder of named workflows changes while it is served."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from gateway import errors, metrics
from gateway.workflows.sampling.presets import BUILT_IN, Preset
from tests.contract.workflow_folder import GRAPH, entry, loaded, put
from tests.waiting import wait_until

#: How soon a saved file must be in service.
SOON_S = 1.0
#: So often it is saved: others have the machine, too.
TRIES = 3


def described(text: str) -> str:
    """Return a manifest that tells one version from another."""
    return f"description: {text}\n"


@contextlib.asynccontextmanager
async def followed(folder):
    """Follow a folder as the gateway does."""
    catalog = await loaded(folder)
    task = asyncio.create_task(catalog.run())
    try:
        yield catalog
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def description(catalog, name="a"):
    """Return the description in service, None when there is none."""
    found = [one.workflow for one in catalog.entries() if one.name == name and one.workflow]
    return found[0].description if found else None


async def becomes(catalog, text, name="a"):
    """Wait until a description is in service; return how long that took."""
    began = time.monotonic()
    await wait_until(lambda: description(catalog, name) == text, description=f"{text} is live")
    return time.monotonic() - began


async def test_a_broken_manifest_leaves_the_last_good_version_in_service(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", described("good"))
    catalog = await loaded(tmp_path)
    before = catalog.get("a")

    put(tmp_path, "a.yaml", "description: [")
    await catalog.refresh()

    assert catalog.get("a") is before
    assert [wrong.file for wrong in entry(catalog, "a").mistakes] == ["a.yaml"]
    assert metrics.registry.get_sample_value("comfy_gateway_workflow_files_broken") == 1
    assert metrics.registry.get_sample_value("comfy_gateway_workflows") == 1

    put(tmp_path, "a.yaml", described("better"))
    await catalog.refresh()

    assert catalog.get("a").description == "better"
    assert entry(catalog, "a").mistakes == ()
    assert catalog.get("a").version != before.version
    assert metrics.registry.get_sample_value("comfy_gateway_workflow_files_broken") == 0


@pytest.mark.parametrize("file", ["workflows.yaml", "base.yaml", "sd15.json"])
async def test_a_broken_shared_file_leaves_all_its_workflows_in_service(file, tmp_path):
    put(tmp_path, "sd15.json", GRAPH)
    put(tmp_path, "base.yaml", "steps: {type: integer, bind: 3.steps}\n")
    put(tmp_path, "workflows.yaml", "a: {workflow_file: sd15.json, parameters: [steps]}\n")
    catalog = await loaded(tmp_path)

    put(tmp_path, file, "{")
    await catalog.refresh()

    assert "steps" in catalog.get("a").parameters
    assert {wrong.file for wrong in entry(catalog, "a").mistakes} == {file}


async def test_what_depends_on_a_shared_file_follows_it(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", "parameters: [steps]\npreset: mine\n")
    catalog = await loaded(tmp_path)
    assert len(entry(catalog, "a").mistakes) == 2

    put(tmp_path, "base.yaml", "steps: {type: integer, default: 5, bind: 3.steps}\n")
    put(tmp_path, "presets.yaml", "mine: {steps: 3}\n")
    await catalog.refresh()
    assert catalog.get("a").parameters["steps"].default == 5

    put(tmp_path, "base.yaml", "steps: {type: integer, default: 66, bind: 3.steps}\n")
    await catalog.refresh()
    assert catalog.get("a").parameters["steps"].default == 66


async def test_a_broken_preset_stays_as_it_was(tmp_path):
    put(tmp_path, "presets.yaml", "mine: {steps: 3}\nother: {steps: 4}\n")
    catalog = await loaded(tmp_path)

    put(tmp_path, "presets.yaml", "mine: {steps: x}\nother: {steps: 5}\n")
    await catalog.refresh()
    assert catalog.presets["mine"] == Preset(steps=3)
    assert catalog.presets["other"] == Preset(steps=5)

    put(tmp_path, "presets.yaml", "[")
    await catalog.refresh()
    assert catalog.presets["other"] == Preset(steps=5)

    (tmp_path / "presets.yaml").unlink()
    await catalog.refresh()
    assert catalog.presets == BUILT_IN


async def test_one_edit_of_workflows_yaml_makes_one_workflow_anew(tmp_path):
    put(tmp_path, "sd15.json", GRAPH)
    text = "a: {workflow_file: sd15.json}\nb: {workflow_file: sd15.json, route: /b}\n"
    put(tmp_path, "workflows.yaml", text)
    catalog = await loaded(tmp_path)
    before = catalog.get("b")

    put(tmp_path, "workflows.yaml", "# moved\n" + text.replace("}", ", description: x}", 1))
    await catalog.refresh()

    assert catalog.get("a").description == "x"
    assert catalog.get("b") is before


async def test_a_route_goes_to_the_next_when_its_holder_is_gone(tmp_path):
    put(tmp_path, "b.json", GRAPH)
    put(tmp_path, "b.yaml", "route: /tryon\n")
    catalog = await loaded(tmp_path)
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", "route: /tryon\n")
    await catalog.refresh()
    assert catalog.by_route("/tryon") == catalog.get("b")
    assert entry(catalog, "a").workflow is None

    (tmp_path / "b.yaml").unlink()
    await catalog.refresh()

    assert catalog.by_route("/tryon") == catalog.get("a")
    assert entry(catalog, "a").mistakes == ()


async def test_what_did_not_change_is_not_read_again(tmp_path):
    for name in ("a", "b"):
        put(tmp_path, f"{name}.json", GRAPH)
    catalog = await loaded(tmp_path)
    before, version = catalog.get("b"), catalog.version

    await catalog.refresh()
    assert catalog.version == version

    put(tmp_path, "a.json", {"1": {"class_type": "A"}})
    await catalog.refresh()
    assert catalog.version == version + 1
    assert catalog.get("b") is before


async def test_a_folder_that_cannot_be_read_for_once_keeps_its_workflows(tmp_path, monkeypatch):
    put(tmp_path, "people/a.json", GRAPH)
    catalog = await loaded(tmp_path)
    real = os.scandir

    def refused(path):
        if str(path).endswith("people"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)
    await catalog.refresh()

    assert catalog.get("people/a").graph == GRAPH
    assert [str(wrong) for wrong in catalog.mistakes] == [
        "people, line 1, column 1: this folder cannot be read: Permission denied"
    ]


async def test_a_saved_file_is_live_within_a_second(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", described("first"))
    async with followed(tmp_path) as catalog:
        took = []
        for number in range(TRIES):
            put(tmp_path, "a.yaml", described(f"number {number}"))
            took.append(await becomes(catalog, f"number {number}"))

    assert min(took) < SOON_S


async def test_files_are_followed_however_they_are_saved(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    async with followed(tmp_path) as catalog:
        # As editors do that keep the old file until the new one is whole.
        put(tmp_path, ".a.yaml.swp", described("third"))
        os.replace(tmp_path / ".a.yaml.swp", tmp_path / "a.yaml")
        await becomes(catalog, "third")

        put(tmp_path, "people/b.json", GRAPH)
        put(tmp_path, "people/b.yaml", described("nested"))
        await becomes(catalog, "nested", "people/b")

        (tmp_path / "a.yaml").unlink()
        (tmp_path / "a.json").unlink()
        await wait_until(
            lambda: [one.name for one in catalog.entries()] == ["people/b"],
            description="a is gone",
        )
        with pytest.raises(errors.WorkflowNotFound):
            catalog.get("a")


async def test_a_folder_that_appears_later_is_followed(tmp_path):
    folder = tmp_path / "workflows"
    async with followed(folder) as catalog:
        put(tmp_path, "made/a.json", GRAPH)
        put(tmp_path, "made/a.yaml", described("there"))
        os.replace(tmp_path / "made", folder)
        await becomes(catalog, "there")

        put(folder, "a.yaml", described("changed"))
        await becomes(catalog, "changed")

        # As when the disk that it lies on drops out, and comes back.
        os.rename(folder, tmp_path / "away")
        await wait_until(lambda: catalog.mistakes, description="it is told")
        assert "stays in service" in catalog.mistakes[0].message
        assert catalog.get("a").description == "changed"

        put(tmp_path, "away/a.yaml", described("back"))
        os.rename(tmp_path / "away", folder)
        await becomes(catalog, "back")
        assert catalog.mistakes == ()


async def test_a_folder_that_is_swapped_for_another_is_followed(tmp_path):
    for name in ("one", "two"):
        put(tmp_path, f"{name}/a.json", GRAPH)
        put(tmp_path, f"{name}/a.yaml", described(name))
    (tmp_path / "current").symlink_to("one")
    async with followed(tmp_path / "current") as catalog:
        await becomes(catalog, "one")

        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", tmp_path / "current")
        await becomes(catalog, "two")

        put(tmp_path, "two/a.yaml", described("three"))
        await becomes(catalog, "three")
