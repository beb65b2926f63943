"""The folder of named workflows: what is in it, what is in service, what is wrong."""

from __future__ import annotations

import os

import pytest

from gateway import errors
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling.presets import BUILT_IN, Preset
from tests.contract.workflow_folder import GRAPH, entry, loaded, put

STEPS = "parameters:\n  steps: {type: integer, default: 20, bind: 3.steps}\n"


async def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    catalog = await loaded(tmp_path / "none")

    assert catalog.entries() == []
    with pytest.raises(errors.WorkflowNotFound):
        catalog.get("a")


async def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    put(tmp_path, "workflows", "x")

    [wrong] = (await loaded(tmp_path / "workflows")).mistakes

    assert str(wrong) == ".: this folder cannot be read: Not a directory".replace(
        ":", ", line 1, column 1:", 1
    )


async def test_a_graph_alone_is_a_workflow_without_parameters(tmp_path):
    put(tmp_path, "a.json", GRAPH)

    workflow = (await loaded(tmp_path)).get("a")

    assert workflow.graph == GRAPH
    assert workflow.parameters == {}


async def test_a_folder_in_the_folder_is_part_of_the_name(tmp_path):
    put(tmp_path, "people/old/portrait.json", GRAPH)
    put(tmp_path, "people/old/portrait.yml", STEPS)

    assert "steps" in (await loaded(tmp_path)).get("people/old/portrait").parameters


async def test_workflows_yaml_names_workflows_over_base_yaml(tmp_path):
    put(tmp_path, "graphs/sd15.json", GRAPH)
    put(
        tmp_path,
        "base.yaml",
        "steps: {type: integer, default: 20, max: 100, bind: 3.steps}\n"
        "prompt: {type: string, default: a cat, bind: 6.text}\n",
    )
    put(
        tmp_path,
        "workflows.yaml",
        "quick:\n"
        "  workflow_file: graphs/sd15.json\n"
        "  description: Quick ones\n"
        "  parameters: [prompt, steps]\n"
        "  overrides: {steps: {default: 5, max: 10}, prompt: {required: true, default: }}\n"
        "  route: /quick\n"
        "slow: {workflow_file: graphs/sd15.json, parameters: {steps: }}\n",
    )

    catalog = await loaded(tmp_path)

    assert [found.name for found in catalog.entries()] == ["quick", "slow"]
    quick, slow = catalog.get("quick"), catalog.get("slow")
    assert list(quick.parameters) == ["prompt", "steps"]
    assert (quick.parameters["steps"].default, quick.parameters["steps"].max) == (5, 10)
    assert (quick.parameters["prompt"].default, quick.parameters["prompt"].required) == (None, True)
    assert slow.parameters["steps"].default == 20
    assert quick.description == "Quick ones"
    assert catalog.by_route("/quick") == quick
    assert catalog.by_route("/slow") is None


async def test_a_mistake_of_base_yaml_is_told_where_it_stands_there(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "base.yaml", "steps:\n  type: integer\n  bind: 3.stepz\n")
    put(tmp_path, "a.yaml", "parameters: [steps]\n")

    [wrong] = entry(await loaded(tmp_path), "a").mistakes

    assert (wrong.file, wrong.line, wrong.column) == ("base.yaml", 3, 9)


async def test_a_workflow_of_a_broken_base_yaml_tells_that_alone(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "base.yaml", "steps: [")
    put(tmp_path, "a.yaml", "parameters: [steps]\n")

    catalog = await loaded(tmp_path)

    assert [wrong.file for wrong in entry(catalog, "a").mistakes] == ["base.yaml"]
    with pytest.raises(errors.WorkflowBroken, match=r"base\.yaml, line 1, column"):
        catalog.get("a")


@pytest.mark.parametrize(
    "files",
    [
        {"a.yaml": "", "a.yml": ""},
        {"a.yaml": "", "workflows.yaml": "a: {workflow_file: a.json}"},
        {"workflows.yaml": "a: {workflow_file: b.json}"},
        {"a.yaml": "", "a.py": "x = 1"},
    ],
    ids=["two files", "a file and workflows.yaml", "two graphs", "a manifest and Python"],
)
async def test_two_manifests_of_one_name_are_refused(files, tmp_path):
    for name, text in {"a.json": GRAPH, "b.json": GRAPH, **files}.items():
        put(tmp_path, name, text)

    found = entry(await loaded(tmp_path), "a")

    assert found.workflow is None
    assert len(found.mistakes) == 2
    assert all("the workflow a is defined twice" in wrong.message for wrong in found.mistakes)


async def test_a_graph_that_workflows_yaml_uses_is_no_workflow_of_its_own(tmp_path):
    put(tmp_path, "sd15.json", GRAPH)
    put(tmp_path, "workflows.yaml", "mine: {workflow_file: sd15.json}\n")

    assert [found.name for found in (await loaded(tmp_path)).entries()] == ["mine"]


async def test_what_editors_leave_is_not_looked_at(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    for name in (".a.json.swp", "a.json~", ".#a.json", "#a.json#", "4913", "a.json.tmp", "x.txt"):
        put(tmp_path, name, "{")
    put(tmp_path, ".git/b.json", "{")
    put(tmp_path, "__pycache__/c.json", "{")
    put(tmp_path, "_draft.yaml", "{")
    (tmp_path / "d.json").mkdir()
    os.mkfifo(tmp_path / "e.json")

    catalog = await loaded(tmp_path)

    assert [found.name for found in catalog.entries()] == ["a"]
    assert catalog.mistakes == ()


async def test_links_out_of_the_folder_are_refused(tmp_path):
    put(tmp_path, "secret/a.json", GRAPH)
    folder = tmp_path / "workflows"
    put(folder, "b.json", GRAPH)
    put(folder, "d.yaml", "workflow_file: out.json\n")
    (folder / "out.json").symlink_to(tmp_path / "secret/a.json")
    (folder / "folder").symlink_to(tmp_path / "secret")
    (folder / "nowhere.json").symlink_to(tmp_path / "nothing")
    (folder / "circle.json").symlink_to("circle.json")
    (folder / "c.json").symlink_to("b.json")

    catalog = await loaded(folder)

    assert [found.name for found in catalog.entries() if found.workflow] == ["b", "c"]
    told = {wrong.file: wrong.message for wrong in catalog.mistakes}
    assert told.pop("d.yaml").startswith("there is no file 'out.json' in the folder")
    assert told == {
        "circle.json": "it cannot be read: Too many levels of symbolic links",
        "folder": "this is a link to a folder; such links are not followed",
        "nowhere.json": "it cannot be read: No such file or directory",
        "out.json": "this is a link that leads out of the folder",
    }


async def test_what_is_no_text_of_a_manifest_is_told(tmp_path):
    for name in ("latin", "long", "binary"):
        put(tmp_path, f"{name}.json", GRAPH)
    (tmp_path / "latin.yaml").write_bytes("# a\ndescription: Müller".encode("latin-1"))
    (tmp_path / "long.yaml").write_bytes(b"a: &x 1\n" + b"b: [*x, *x, *x, *x, *x]\n" * 220_000)
    (tmp_path / "binary.yaml").write_bytes(b"a: \x00")

    found = (await loaded(tmp_path)).mistakes

    assert [(wrong.file, wrong.line, wrong.column) for wrong in found] == [
        ("binary.yaml", 1, 1),
        ("latin.yaml", 2, 15),
        ("long.yaml", 1, 1),
    ]
    assert "not UTF-8" in found[1].message
    assert "more than 4 MB" in found[2].message


async def test_a_byte_order_mark_is_no_mistake(tmp_path):
    put(tmp_path, "a.json", "\ufeff{}".replace("{}", '{"1": {"class_type": "A"}}'))
    put(tmp_path, "a.yaml", "\ufeffdescription: x\n")

    assert (await loaded(tmp_path)).get("a").description == "x"


@pytest.mark.parametrize("name", ["a{b}", "a?b", "a#b", "a%b", "-a"])
async def test_a_name_that_no_address_has_is_refused(name, tmp_path):
    put(tmp_path, f"{name}.json", GRAPH)

    [wrong] = entry(await loaded(tmp_path), name).mistakes

    assert "a workflow is named by letters" in wrong.message


async def test_a_route_of_two_belongs_to_the_first(tmp_path):
    for name in ("a", "b"):
        put(tmp_path, f"{name}.json", GRAPH)
        put(tmp_path, f"{name}.yaml", "description: x\nroute: /tryon\n")

    catalog = await loaded(tmp_path)

    assert catalog.by_route("/tryon") == catalog.get("a")
    [wrong] = entry(catalog, "b").mistakes
    assert (wrong.file, wrong.line, wrong.column) == ("b.yaml", 2, 8)
    assert "/tryon is the route of a already" in wrong.message


async def test_a_route_of_the_gateway_is_refused(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", "route: /prompt\n")

    catalog = await loaded(tmp_path, is_taken=lambda path: path == "/prompt")

    with pytest.raises(errors.WorkflowBroken, match="the gateway itself answers at /prompt"):
        catalog.get("a")


async def test_an_unknown_name_is_answered_with_the_closest(tmp_path):
    put(tmp_path, "portrait.json", GRAPH)

    with pytest.raises(errors.WorkflowNotFound) as raised:
        (await loaded(tmp_path)).get("portrat")

    assert "'portrat'" in raised.value.message
    assert "portrait" in (raised.value.hint or "")


async def test_a_name_of_a_broken_workflows_yaml_is_answered_with_its_mistake(tmp_path):
    put(tmp_path, "workflows.yaml", "a: [")

    with pytest.raises(errors.WorkflowNotFound) as raised:
        (await loaded(tmp_path)).get("a")

    assert "workflows.yaml, line 1, column" in (raised.value.hint or "")


async def test_presets_of_the_operator_stand_beside_those_built_in(tmp_path):
    put(
        tmp_path,
        "presets.yaml",
        "draft: {steps: 4}\n"
        "poster: {steps: 40, cfg: 6, sampler: euler, scheduler: karras, height: 1536}\n",
    )
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", "preset: poster\n")

    catalog = await loaded(tmp_path)

    assert catalog.presets["draft"] == Preset(steps=4)
    assert catalog.presets["poster"].height == 1536
    assert catalog.presets["fast"] == BUILT_IN["fast"]
    assert catalog.get("a").preset == "poster"


async def test_lora_presets_are_lists_of_loras(tmp_path):
    put(
        tmp_path,
        "lora_presets.yaml",
        "film:\n"
        "  - {name: grain.safetensors, strength: 0.5}\n"
        "  - {url: 'https://host/x.safetensors', strength_clip: 0.2, target: high}\n",
    )

    assert (await loaded(tmp_path)).lora_presets == {
        "film": (
            Lora("grain.safetensors", 0.5),
            Lora("https://host/x.safetensors", 1.0, 0.2, "high"),
        )
    }


#: File, its text with ¦ before the place that is told -> words of the sentence.
PRESETS = {
    ("presets.yaml", "a: {¦stepz: 3}"): "did you mean steps?",
    ("presets.yaml", "a: {steps: ¦'20'}"): "a whole number",
    ("presets.yaml", "a: {steps: ¦0}"): "this must be greater than or equal to 1",
    ("presets.yaml", "a: {denoise: ¦2.0}"): "this must be less than or equal to 1",
    ("presets.yaml", "a: ¦3"): "a mapping of keys to values",
    ("presets.yaml", "a: ¦{}"): "sets nothing",
    ("presets.yaml", "¦- a"): "a mapping of keys to values",
    ("lora_presets.yaml", "a: ¦x"): "a list with something in it",
    ("lora_presets.yaml", "a: [¦x]"): "a mapping of keys to values",
    ("lora_presets.yaml", "a: [¦{strength: 1.0}]"): "either name or url",
    ("lora_presets.yaml", "a: [{name: x, strength: ¦1000.0}]"): "less than or equal to 100",
    ("lora_presets.yaml", "a: [{name: x, ¦strenght: 1}]"): "did you mean strength?",
}


@pytest.mark.parametrize(("written", "words"), PRESETS.items(), ids=str)
async def test_a_mistake_in_presets_is_told_where_it_stands(written, words, tmp_path):
    file, marked = written
    put(tmp_path, file, f"{marked.replace('¦', '')}\n")

    catalog = await loaded(tmp_path)

    [wrong] = catalog.mistakes
    assert (wrong.file, wrong.line, wrong.column) == (file, 1, marked.index("¦") + 1)
    assert words in wrong.message
    assert catalog.presets == BUILT_IN
