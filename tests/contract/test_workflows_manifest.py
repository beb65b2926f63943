"""What a manifest may say, and what it is told when it says something else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.workflows.catalog import Mistake
from gateway.workflows.workflow import Parameter
from tests.contract.workflow_folder import GRAPH, entry, loaded, put


async def mistakes(folder: Path, manifest: str) -> tuple[Mistake, ...]:
    """Return what is wrong with a manifest beside the graph."""
    put(folder, "portrait.json", GRAPH)
    put(folder, "portrait.yaml", manifest)
    return entry(await loaded(folder), "portrait").mistakes


def at(wrong: Mistake) -> tuple[str, int, int]:
    """Return where a mistake is said to be."""
    return wrong.file, wrong.line, wrong.column


def place_of_mark(marked: str) -> tuple[int, int]:
    """Return the line and column of the mark in a text."""
    before = marked[: marked.index("¦")]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


async def test_a_manifest_beside_its_graph_makes_a_workflow(tmp_path):
    put(tmp_path, "portrait.json", GRAPH)
    put(
        tmp_path,
        "portrait.yaml",
        """
        description: Portraits
        route: /portraits
        preset: fast
        outputs: [9]
        example: {prompt: a dog, steps: 12}
        parameters:
          prompt: {type: string, required: true, bind: 6.inputs.text, description: What to draw}
          negative: {type: string, default: "", bind: {title: Negative, input: text}}
          steps: {type: integer, min: 1, max: 50, bind: {class: KSampler, input: steps}}
          cfg: {type: float, default: 7, min: 0, max: 30, multiple_of: 0.5, bind: 3.cfg}
          seed: {type: seed, default: random, bind: [3.inputs.seed]}
          size: {type: enum, choices: [512, 768], default: 512, bind: [5.width, 5.height]}
          model: {type: model, folder: checkpoints, bind: 4.ckpt_name}
          decode: {type: boolean, default: true, toggle: [8, {title: Sampler}]}
        """,
    )

    workflow = (await loaded(tmp_path)).get("portrait")

    assert workflow.graph == GRAPH
    assert (workflow.description, workflow.route, workflow.preset) == (
        "Portraits",
        "/portraits",
        "fast",
    )
    assert workflow.outputs == ("9",)
    assert workflow.example == {"prompt": "a dog", "steps": 12}
    assert list(workflow.parameters) == [
        "prompt",
        "negative",
        "steps",
        "cfg",
        "seed",
        "size",
        "model",
        "decode",
    ]
    assert workflow.parameters["prompt"] == Parameter(
        "prompt",
        "string",
        required=True,
        description="What to draw",
        places=(("6", "text"),),
    )
    assert workflow.parameters["negative"].places == (("7", "text"),)
    assert workflow.parameters["steps"].places == (("3", "steps"),)
    assert workflow.parameters["cfg"].default == 7.0
    assert workflow.parameters["seed"].default == "random"
    assert workflow.parameters["size"].places == (("5", "width"), ("5", "height"))
    assert workflow.parameters["model"].folder == "checkpoints"
    assert workflow.parameters["decode"].toggle == ("8", "3")


async def test_all_nodes_of_a_class_may_be_meant(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(
        tmp_path,
        "a.yaml",
        "parameters:\n"
        "  text: {type: string, bind: {class: CLIPTextEncode, input: text, all: true}}\n",
    )

    workflow = (await loaded(tmp_path)).get("a")

    assert workflow.parameters["text"].places == (("6", "text"), ("7", "text"))


async def test_an_id_with_a_colon_or_a_dot_is_found(tmp_path):
    graph = {
        "12:3": {"class_type": "A", "inputs": {"resize.width": 1}},
        "1.5": {"class_type": "A", "inputs": {"x": 1}},
    }
    put(tmp_path, "a.json", graph)
    put(
        tmp_path,
        "a.yaml",
        "parameters:\n"
        "  w: {type: integer, bind: '12:3.inputs.resize.width'}\n"
        "  x: {type: integer, bind: '1.5.x'}\n",
    )

    workflow = (await loaded(tmp_path)).get("a")

    assert workflow.parameters["w"].places == (("12:3", "resize.width"),)
    assert workflow.parameters["x"].places == (("1.5", "x"),)


#: What stands behind `steps:`, with ¦ before the place that is told -> words of the sentence.
PARAMETERS = {
    "{type: integer, bind: ¦3.inputs.stepz}": "no input stepz; did you mean steps?",
    "{type: integer, bind: ¦33.inputs.steps}": "there is no node '33' in the workflow; it has",
    "{type: integer, bind: ¦3.inputs.model}": "3.inputs.model is a link to node 4",
    "{type: integer, bind: ¦steps}": "'steps' names no input; a target is NODE.inputs.INPUT",
    "{type: integer, bind: ¦3}": "a target is NODE.inputs.INPUT",
    "{type: integer, bind: ¦[]}": "bound to nothing",
    "¦{type: integer}": "bound to nothing",
    "{type: integer, bind: {class: ¦KSamplr, input: steps}}": "did you mean KSampler?",
    "{type: integer, bind: {title: ¦Positiv, input: text}}": "did you mean Positive?",
    "{type: string, bind: ¦{class: CLIPTextEncode, input: text}}": "2 nodes are of class",
    "{type: integer, bind: ¦{class: KSampler}}": "input is missing",
    "{type: integer, bind: ¦{input: steps}}": "either title or class is needed",
    "{type: integer, bind: {¦clas: KSampler, input: steps}}": "did you mean class?",
    "{type: ¦int, bind: 3.steps}": "there is no type 'int'; did you mean integer?",
    "{type: ¦intgr, bind: 3.steps}": "there is no type 'intgr'; did you mean integer?",
    "{type: ¦3, bind: 3.steps}": "this must be text",
    "¦{bind: 3.steps}": "type is missing",
    "{type: integer, ¦defualt: 3, bind: 3.steps}": "no key 'defualt' here; did you mean default?",
    "{type: integer, default: ¦99, max: 50, bind: 3.steps}": "99 is more than 50",
    "{type: integer, default: ¦'20', bind: 3.steps}": "write 20 without quotes",
    "{type: integer, default: ¦2.5, bind: 3.steps}": "2.5 is not an integer",
    "{type: float, default: ¦.nan, bind: 3.cfg}": "not a finite number",
    "{type: integer, default: ¦5, multiple_of: 8, bind: 3.steps}": "5 is not a multiple of 8",
    "{type: integer, min: ¦9, max: 5, bind: 3.steps}": "min is more than max, 5",
    "{type: integer, min: ¦0.5, bind: 3.steps}": "a whole number",
    "{type: integer, min: ¦low, bind: 3.steps}": "this must be a number",
    "{type: integer, multiple_of: ¦0, bind: 3.steps}": "more than 0",
    "{type: float, max: ¦.inf, bind: 3.cfg}": "number",
    "{type: boolean, ¦min: 1, bind: 3.steps}": "min goes with integer, float, seed, string",
    "¦{type: enum, bind: 3.scheduler}": "enum needs choices",
    "{type: enum, choices: ¦[], bind: 3.scheduler}": "a list with something in it",
    "{type: enum, choices: [¦on, normal], bind: 3.scheduler}": "put it in quotes",
    "{type: enum, choices: [a, b, ¦a], bind: 3.scheduler}": "'a' stands here twice",
    "{type: enum, choices: [normal], default: ¦karras, bind: 3.scheduler}": "none of them",
    "{type: integer, choices: [1, ¦x], bind: 3.steps}": "not an integer",
    "¦{type: model, bind: 4.ckpt_name}": "model needs folder",
    "{type: model, folder: ¦a/b, bind: 4.ckpt_name}": "the name of one folder",
    "{type: string, ¦folder: loras, bind: 6.text}": "folder goes with model",
    "{type: integer, required: ¦maybe, bind: 3.steps}": "true or false",
    "{type: string, ¦toggle: [8]}": "toggle goes with boolean",
    "{type: boolean, toggle: [¦88]}": "there is no node '88'",
    "{type: boolean, toggle: ¦[]}": "a list of them",
    "{type: boolean, toggle: [{title: ¦Negativ}]}": "did you mean Negative?",
    "¦[a, b]": "a mapping of keys to values",
}


@pytest.mark.parametrize(("said", "words"), PARAMETERS.items(), ids=PARAMETERS)
async def test_a_mistake_in_a_parameter_is_told_where_it_stands(said, words, tmp_path):
    marked = f"parameters:\n  steps: {said}\n"

    [wrong] = await mistakes(tmp_path, marked.replace("¦", ""))

    assert at(wrong) == ("portrait.yaml", *place_of_mark(marked))
    assert words in wrong.message


#: The manifest, with ¦ before the place that is told -> words of the sentence.
MANIFESTS = {
    "parameters: [¦": "expected the node content",
    "¦paramters: {}": "no key 'paramters' here; did you mean parameters?",
    "¦- a\n- b": "a mapping of keys to values",
    "description: ¦3": "this must be text",
    "preset: ¦fasst": "there is no preset 'fasst'; did you mean fast?",
    "route: ¦tryon": "a route begins with /",
    "route: ¦/a/{id}": "no {}",
    "route: ¦/a/": "no / at its end",
    "route: ¦/a/../b": "a route is made of letters",
    "outputs: [¦99]": "there is no node '99'",
    "parameters: ¦3": "a mapping of parameters, or a list of names",
    "parameters: [¦prompt]": "base.yaml defines no parameter 'prompt'; there is none",
    "overrides: {¦a: {}}": "there is no parameter 'a' to override",
    "example: {¦a: 1}": "there is no parameter 'a'",
    "parameters:\n  ¦a b: {type: string, bind: 6.text}": "a parameter is named by letters",
    "parameters:\n  a: {type: string, bind: 6.text}\n  b: {type: string, bind: ¦6.text}": (
        "6.inputs.text is bound to a already"
    ),
    "parameters:\n  a: {type: integer, bind: 3.steps}\nexample: {a: ¦b}": "does not fit",
    "a: &x [1]\nb: ¦*x": "aliases",
    "workflow_file: ¦../portrait.json": "must stay inside the folder",
    "workflow_file: ¦/etc/passwd.json": "must stay inside the folder",
    "workflow_file: ¦portrait.yaml": "must be a .json file",
    "workflow_file: ¦portrai.json": "did you mean portrait.json?",
}


@pytest.mark.parametrize(("marked", "words"), MANIFESTS.items(), ids=MANIFESTS)
async def test_a_mistake_in_a_manifest_is_told_where_it_stands(marked, words, tmp_path):
    [wrong] = await mistakes(tmp_path, marked.replace("¦", ""))

    assert at(wrong) == ("portrait.yaml", *place_of_mark(marked))
    assert words in wrong.message


async def test_every_mistake_is_told_at_once(tmp_path):
    found = await mistakes(
        tmp_path,
        "preset: none\nparameters:\n  a: {type: x}\n  b: {type: enum, bind: 3.scheduler}\n",
    )

    assert [wrong.line for wrong in found] == [1, 3, 4]


async def test_a_manifest_of_nothing_is_a_workflow_without_parameters(tmp_path):
    put(tmp_path, "a.json", GRAPH)
    put(tmp_path, "a.yaml", "# nothing yet\n")

    assert (await loaded(tmp_path)).get("a").parameters == {}


async def test_a_manifest_without_a_graph_says_so(tmp_path):
    put(tmp_path, "a.yaml", "description: x\n")

    [wrong] = entry(await loaded(tmp_path), "a").mistakes

    assert "there is no a.json; put it beside the manifest" in wrong.message


#: The graph's file, with ¦ before the place that is told -> words of the sentence.
GRAPHS = {
    "¦": "it is empty",
    '{\n  "3": {¦,\n}': "this is not JSON",
    "¦[]": "a workflow is an object",
    "¦{}": "there is no node in it",
    '¦{"_workflow_metadata": {}}': "there is no node in it",
    '{\n  "3": {"class_type": "A"},\n  ¦"4": 3\n}': "4 is not a node",
    '{\n  ¦"3": {"inputs": {}}\n}': "3: the node has no class_type",
    '{¦"3": {"class_type": "A", "inputs": []}}': "3.inputs is not an object",
    '{"3": {"class_type": "A"},\n ¦"_workflow_metadata": []}': "must be an object",
    '{"3": {"class_type": "A", "inputs": {"x": ¦nan}}}': "this is not JSON",
    "¦<!doctype html><html>": "it is not JSON",
}


@pytest.mark.parametrize(("marked", "words"), GRAPHS.items(), ids=GRAPHS)
async def test_a_mistake_in_a_graph_is_told_where_it_stands(marked, words, tmp_path):
    put(tmp_path, "a.json", marked.replace("¦", ""))

    [wrong] = entry(await loaded(tmp_path), "a").mistakes

    assert at(wrong) == ("a.json", *place_of_mark(marked))
    assert words in wrong.message


async def test_the_metadata_of_a_graph_is_read_and_taken_out(tmp_path):
    metadata = {"workflow_name": "Cats", "description": "Cats only", "nodes": ["KSampler"]}
    put(tmp_path, "a.json", {"_workflow_metadata": metadata, **GRAPH})

    workflow = (await loaded(tmp_path)).get("a")

    assert workflow.graph == GRAPH
    assert workflow.metadata == metadata
    assert workflow.description == "Cats only"


@pytest.mark.parametrize(
    ("size_mb", "words"), [(5, "it has more than 4 MB"), (3, "aliases (*name) are not supported")]
)
async def test_megabytes_of_aliases_are_refused_and_never_opened_out(tmp_path, size_mb, words):
    first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40))
    filling = "description: " + "x" * (size_mb * 1024**2) + "\n"
    began = time.monotonic()
    [wrong] = await mistakes(tmp_path, first + bomb + filling)

    assert words in wrong.message
    assert time.monotonic() - began < 5
