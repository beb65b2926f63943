"""Files in the format of the canvas, and pictures with a workflow in them, in the folder."""

from __future__ import annotations

import copy
import json

import pytest

from gateway import errors
from gateway.workflows.python.scripts import Scripts
from tests.contract.canvas_folder import CANVAS, GRAPH, OBJECT_INFO, Comfy, canvas, plain, png
from tests.contract.workflow_folder import entry, put

MANIFEST = """\
route: /squares
parameters:
  side: {type: integer, bind: [1.inputs.width, {title: Background, input: height}]}
  name: {type: string, bind: {class: SaveImage, input: filename_prefix}}
"""
LACKING = {name: said for name, said in OBJECT_INFO.items() if name != "EmptyImage"}


async def test_it_waits_for_what_comfyui_tells_of_its_nodes(tmp_path):
    put(tmp_path, "alone.json", CANVAS)
    put(tmp_path, "square.json", CANVAS)
    put(tmp_path, "square.yaml", MANIFEST)
    put(tmp_path, "workflows.yaml", "section: {workflow_file: graphs/a.json}")
    put(tmp_path, "graphs/a.json", CANVAS)
    put(tmp_path, "api.json", GRAPH)
    comfy = Comfy()
    catalog = await comfy.loaded(tmp_path)

    assert catalog.mistakes == ()
    assert [one.name for one in catalog.entries() if one.waits] == ["alone", "section", "square"]
    for ask in (lambda: catalog.get("square"), lambda: catalog.by_route("/squares")):
        with pytest.raises(errors.NotReady, match="format of the canvas") as caught:
            ask()
        assert caught.value.retry_after

    other, comfy.definitions = catalog.get("api"), OBJECT_INFO
    await catalog.convert_anew()

    assert not any(one.waits for one in catalog.entries())
    for name in ("alone", "section", "square"):
        assert plain(catalog.get(name).graph) == GRAPH
    assert catalog.get("api") is other
    square = catalog.get("square")
    assert catalog.by_route("/squares") is square
    assert [place.node_id for place in square.parameters["side"].places] == ["1", "1"]
    assert [place.node_id for place in square.parameters["name"].places] == ["2"]


async def test_binds_are_judged_only_of_a_graph_that_is_known(tmp_path):
    put(tmp_path, "a.json", CANVAS)
    put(tmp_path, "a.yaml", "parameters:\n  x: {type: integer, bind: 7.inputs.width}\n")
    comfy = Comfy()
    catalog = await comfy.loaded(tmp_path)
    assert entry(catalog, "a").waits

    comfy.definitions = OBJECT_INFO
    await catalog.convert_anew()

    [wrong] = entry(catalog, "a").mistakes
    assert (wrong.file, wrong.line) == ("a.yaml", 2)
    assert "there is no node '7'" in wrong.message


async def test_what_is_wrong_with_the_manifest_is_told_at_once(tmp_path):
    put(tmp_path, "a.json", CANVAS)
    put(tmp_path, "a.yaml", "descriptoin: x\n")
    comfy = Comfy()
    catalog = await comfy.loaded(tmp_path)

    found = entry(catalog, "a")
    assert "did you mean description?" in found.mistakes[0].message
    assert not found.waits


async def test_other_custom_nodes_convert_it_anew(tmp_path):
    put(tmp_path, "a.json", CANVAS)
    comfy = Comfy(OBJECT_INFO)
    catalog = await comfy.loaded(tmp_path)
    await catalog.convert_anew()
    good, version = catalog.get("a"), catalog.version

    comfy.definitions = LACKING
    await catalog.convert_anew()

    [wrong] = entry(catalog, "a").mistakes
    line = json.dumps(CANVAS, indent=2)[: json.dumps(CANVAS, indent=2).index('"id": 1')]
    assert (wrong.file, wrong.line, wrong.column) == ("a.json", line.count("\n"), 5)
    for words in ("node 1", "Background", "EmptyImage", "comfyui-backgrounds"):
        assert words in wrong.message
    assert catalog.get("a") is good
    assert not entry(catalog, "a").waits

    comfy.definitions = dict(OBJECT_INFO)
    await catalog.convert_anew()
    assert entry(catalog, "a").mistakes == ()
    assert catalog.version > version

    version = catalog.version
    comfy.definitions = dict(OBJECT_INFO)
    await catalog.convert_anew()
    assert catalog.version == version


async def test_a_definition_that_changes_the_graph_makes_another_version(tmp_path):
    put(tmp_path, "a.json", CANVAS)
    comfy = Comfy(OBJECT_INFO)
    catalog = await comfy.loaded(tmp_path)
    before = catalog.get("a")

    text = json.dumps(OBJECT_INFO).replace("filename_prefix", "name")
    comfy.definitions = json.loads(text)
    await catalog.convert_anew()

    assert catalog.get("a").version != before.version
    assert catalog.get("a").graph["2"]["inputs"]["name"] == "canvas"


async def test_a_version_in_api_format_stays_while_one_of_the_canvas_waits(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    comfy = Comfy()
    catalog = await comfy.loaded(tmp_path)
    before = catalog.get("a")

    put(tmp_path, "a.json", canvas(width=64))
    await catalog.refresh()
    assert catalog.get("a") is before
    assert entry(catalog, "a").waits

    comfy.definitions = OBJECT_INFO
    await catalog.convert_anew()
    assert catalog.get("a").graph["1"]["inputs"]["width"] == 64


@pytest.mark.parametrize("place", ["top", "extra"])
async def test_what_the_canvas_says_of_itself(place, tmp_path):
    told = {"_workflow_metadata": {"description": "Squares", "model": "none"}}
    put(tmp_path, "a.json", {**CANVAS, **told} if place == "top" else {**CANVAS, "extra": told})

    workflow = (await Comfy(OBJECT_INFO).loaded(tmp_path)).get("a")

    assert workflow.description == "Squares"
    assert workflow.metadata == told["_workflow_metadata"]
    assert plain(workflow.graph) == GRAPH


def _with_a_subgraph():
    found, inner = canvas(), copy.deepcopy(CANVAS["nodes"][0])
    inner["outputs"][0]["links"] = [1]
    found["nodes"][0] = {
        "id": 12,
        "type": "5a1b2c3d-0000-4000-8000-000000000001",
        "inputs": [],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
        "properties": {},
        "widgets_values": [],
    }
    found["links"] = [[1, 12, 0, 2, 0, "IMAGE"]]
    link = {"id": 1, "origin_id": 5, "origin_slot": 0, "target_id": -20, "target_slot": 0}
    sheet = {
        "id": found["nodes"][0]["type"],
        "name": "Inside",
        "version": 1,
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
        "inputs": [],
        "outputs": [{"id": "a", "name": "IMAGE", "type": "IMAGE", "linkIds": [1]}],
        "nodes": [{**inner, "id": 5}],
        "links": [{**link, "type": "IMAGE"}],
    }
    return {**found, "definitions": {"subgraphs": [sheet]}}


async def test_nodes_in_subgraphs_are_bound_by_the_ids_of_both(tmp_path):
    put(tmp_path, "a.json", _with_a_subgraph())
    binds = "w: {type: integer, bind: 12:5.inputs.width}, h: {type: integer, bind: 12:5.height}"
    put(tmp_path, "a.yaml", f"parameters: {{{binds}}}\noutputs: ['12:5', 2]\n")
    put(tmp_path, "b.yaml", "workflow_file: a.json\noutputs: [12:5]\n")
    comfy = Comfy(OBJECT_INFO)
    catalog = await comfy.loaded(tmp_path)

    workflow = catalog.get("a")
    assert plain(workflow.graph)["12:5"] == GRAPH["1"]
    assert workflow.outputs == ("12:5", "2")
    assert [one.places[0].node_id for one in workflow.parameters.values()] == ["12:5", "12:5"]
    assert "stands in quotes" in entry(catalog, "b").mistakes[0].message

    comfy.definitions = LACKING
    await catalog.convert_anew()
    [wrong] = entry(catalog, "a").mistakes
    assert "node 12:5" in wrong.message
    assert wrong.line > 1


class TestMedia:
    async def test_a_picture_is_a_workflow_only_where_a_manifest_names_it(self, tmp_path):
        (tmp_path / "lying.png").write_bytes(png(prompt=GRAPH))
        (tmp_path / "nothing.JPG").write_bytes(b"no picture")
        (tmp_path / "away.png").symlink_to(tmp_path.parent)
        (tmp_path / "gone.webp").symlink_to(tmp_path.parent / "gone.webp")
        (tmp_path / "square.png").write_bytes(png(prompt=GRAPH, workflow=canvas(width=64)))
        put(tmp_path, "square.yaml", "workflow_file: square.png\n")
        (tmp_path / "shared.png").write_bytes(png(prompt=canvas(width=2), workflow=CANVAS))
        put(tmp_path, "workflows.yaml", "shared: {workflow_file: shared.png}")

        catalog = await Comfy().loaded(tmp_path)

        names = {one.name: one.waits for one in catalog.entries()}
        assert names == {"square": False, "shared": True}
        # The graph that ran is the first choice, and needs no conversion.
        assert catalog.get("square").graph == GRAPH
        assert catalog.mistakes == ()

    async def test_the_canvas_in_a_picture_is_converted(self, tmp_path):
        (tmp_path / "a.png").write_bytes(png(workflow=CANVAS))
        put(tmp_path, "a.yaml", f"workflow_file: a.png\n{MANIFEST}")
        comfy = Comfy()
        catalog = await comfy.loaded(tmp_path)
        assert entry(catalog, "a").waits

        comfy.definitions = OBJECT_INFO
        await catalog.convert_anew()
        assert plain(catalog.get("a").graph) == GRAPH

        (tmp_path / "a.png").write_bytes(png(workflow=canvas(width=99)))
        await catalog.refresh()
        assert catalog.get("a").graph["1"]["inputs"]["width"] == 99

        (tmp_path / "a.png").write_bytes(png())
        await catalog.refresh()
        [wrong] = entry(catalog, "a").mistakes
        assert (wrong.file, wrong.line, wrong.column) == ("a.png", 1, 1)
        assert "it is image/png, and no workflow is embedded in it" in wrong.message
        assert catalog.get("a").graph["1"]["inputs"]["width"] == 99

    async def test_a_picture_that_comes_after_its_manifest_is_found(self, tmp_path):
        put(tmp_path, "a.yaml", "workflow_file: a.png\n")
        (tmp_path / "b.webp").write_bytes(png(workflow=CANVAS))
        put(tmp_path, "b.yaml", "description: none\n")
        catalog = await Comfy(OBJECT_INFO).loaded(tmp_path)
        assert "there is no file 'a.png'" in entry(catalog, "a").mistakes[0].message
        assert entry(catalog, "b").mistakes[0].message.endswith("say workflow_file: b.webp")

        (tmp_path / "a.png").write_bytes(png(workflow=CANVAS))
        await catalog.refresh()
        assert plain(catalog.get("a").graph) == GRAPH

    async def test_a_picture_that_nobody_names_changes_nothing(self, tmp_path):
        put(tmp_path, "a.json", GRAPH)
        catalog = await Comfy(OBJECT_INFO).loaded(tmp_path)
        version = catalog.version

        (tmp_path / "a.png").write_bytes(png(prompt=GRAPH))
        await catalog.refresh()
        assert catalog.version == version

    async def test_a_picture_may_be_larger_than_json(self, tmp_path):
        (tmp_path / "a.png").write_bytes(png(workflow=CANVAS) + bytes(5 << 20))
        put(tmp_path, "a.yaml", "workflow_file: a.png\n")
        (tmp_path / "b.png").write_bytes(b"")
        with (tmp_path / "b.png").open("r+b") as file:
            file.truncate((64 << 20) + 1)
        put(tmp_path, "b.yaml", "workflow_file: b.png\n")

        catalog = await Comfy(OBJECT_INFO).loaded(tmp_path)

        assert plain(catalog.get("a").graph) == GRAPH
        assert "more than 64 MB" in entry(catalog, "b").mistakes[0].message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"nodes": []}', "prompt is empty"),
        ('{"nodes": [3]}', ""),
        ('{"nodes": [{"id": 1}], "links": 7}', ""),
        ('{"nodes": [], "_workflow_metadata": 3}', "_workflow_metadata must be an object"),
        ('{"nodes": [], "extra": {"_workflow_metadata": 3}}', "_workflow_metadata must be an"),
    ],
)
async def test_what_is_no_workflow_is_a_mistake_of_the_file(content, words, tmp_path):
    put(tmp_path, "a.json", content)

    found = entry(await Comfy(OBJECT_INFO).loaded(tmp_path), "a")

    assert found.mistakes[0].file == "a.json"
    assert words in found.mistakes[0].message
    assert not found.waits


async def test_many_nodes_that_nobody_knows_are_told_shortly(tmp_path):
    nodes = [{"id": number, "type": f"Class{number}"} for number in range(50)]
    put(tmp_path, "a.json", {"nodes": nodes, "links": []})

    found = entry(await Comfy(OBJECT_INFO).loaded(tmp_path), "a").mistakes

    assert len(found) == 21
    assert any("30 more nodes" in wrong.message for wrong in found)


CODE = f"""
from pydantic import BaseModel

class Request(BaseModel):
    side: int = 8

def build(request):
    canvas = {CANVAS!r}
    canvas["nodes"][0]["widgets_values"][0] = request.side
    return canvas
"""


async def test_python_may_return_what_the_canvas_saves():
    comfy = Comfy()
    async with Scripts.open(definitions=lambda: comfy.definitions) as scripts:
        with pytest.raises(errors.NotReady):
            await scripts.build(CODE, "a.py", {})

        comfy.definitions = OBJECT_INFO
        made = await scripts.build(CODE, "a.py", {"side": 32})
        assert plain(made)["1"]["inputs"]["width"] == 32

        comfy.definitions = LACKING
        with pytest.raises(errors.BuildFailed) as caught:
            await scripts.build(CODE, "a.py", {})
        assert caught.value.details["nodes"][0]["class_type"] == "EmptyImage"
