"""A graph against ComfyUI's classes: which problems are told, and in which words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway import errors
from gateway.comfy import nodes

SAMPLERS = ["euler", "euler_ancestral", "heun"]

OBJECT_INFO: dict[str, Any] = {
    "Loader": {
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
        "python_module": "nodes",
    },
    "Sampler": {
        "input": {
            "required": {"image": ["IMAGE"], "sampler": [SAMPLERS]},
            "optional": {"scale": [[1, 1.5, 2]], "many": [[f"m{n}" for n in range(30)]]},
        },
        "output": ["IMAGE"],
        "python_module": "nodes",
    },
    "CheckpointLoaderSimple": {
        "input": {"required": {"ckpt_name": [["sd15.safetensors", "sdxl.safetensors"]]}},
        "output": ["MODEL"],
        "python_module": "nodes",
    },
    "DualCLIPLoader": {
        "input": {
            "required": {
                "clip_name1": [["clip_l.safetensors", "t5xxl_fp16.safetensors"]],
                "clip_name2": ["COMBO", {"options": ["clip_l.safetensors", "t5xxl.safetensors"]}],
                "type": ["COMBO", {"options": ["sdxl", "flux"]}],
            }
        },
        "output": ["CLIP"],
        "python_module": "comfy_extras.nodes_sd3",
    },
    "Custom": {
        "input": {"required": {"choice": [["a", "b"]]}},
        "output": ["IMAGE"],
        "python_module": "custom_nodes.pack",
    },
    "Save": {
        "input": {"required": {"images": ["IMAGE"]}},
        "output": [],
        "output_node": True,
        "python_module": "nodes",
    },
    "Odd": {"input": None, "output": None, "output_node": "yes"},
    "Broken": None,
}


@pytest.fixture
def catalog() -> nodes.Catalog:
    made = nodes.Catalog()
    made.replace(OBJECT_INFO)
    return made


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def workflow(**changes: Any) -> dict[str, Any]:
    """Loader 1 -> Sampler 2 -> Save 3, with inputs of the sampler changed."""
    return {
        "1": node("Loader", image="new.png"),
        "2": node("Sampler", **{"image": ["1", 0], "sampler": "euler", **changes}),
        "3": node("Save", images=["2", 0]),
    }


def test_the_catalog_knows_what_it_was_told(catalog: nodes.Catalog) -> None:
    assert not nodes.Catalog().is_known
    assert catalog.is_known
    assert catalog.output_classes == {"Save"}
    assert catalog.get("Broken") is None
    assert catalog.closest("Sampeler") == ["Sampler"]
    catalog.update({"Save": {"output_node": False}, "Broken": 5})
    assert catalog.output_classes == set()
    assert catalog.get("Broken") is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image": ["1", 1]},
        {"image": ["1", 1.0]},
        {"scale": 1.5},
        {"scale": 2},
        {"sampler": ["1", 0]},
        {"sampler": {"nested": 1}},
        {"unknown_input": "x"},
        {"image": "not a link, which ComfyUI itself will tell"},
    ],
)
def test_what_comfyui_would_run_passes(catalog: nodes.Catalog, changes: dict[str, Any]) -> None:
    assert nodes.check(workflow(**changes), catalog) == []


@pytest.mark.parametrize(
    ("changes", "kind", "detail"),
    [
        ({"image": ["9", 0]}, "bad_linked_input", "node '9' is not in the workflow"),
        ({"image": ["1", 2]}, "bad_linked_input", "has 2 outputs"),
        ({"image": ["1", -1]}, "bad_linked_input", "-1 is not one"),
        ({"image": ["1", 0.5]}, "bad_linked_input", "0.5 is not one"),
        ({"image": ["1", math.inf]}, "bad_linked_input", "inf is not one"),
        ({"image": ["1", math.nan]}, "bad_linked_input", "nan is not one"),
        ({"image": ["2", 0]}, "dependency_cycle", "2 -> 2"),
        ({"sampler": "eulr"}, "value_not_in_list", "'eulr' not in ['euler'"),
        ({"sampler": None}, "value_not_in_list", "'None' not in"),
        ({"many": "zzz"}, "value_not_in_list", "(list of length 30)"),
        ({"scale": "1.5"}, "value_not_in_list", "not in [1, 1.5, 2]"),
    ],
)
def test_what_comfyui_would_refuse_is_told(
    catalog: nodes.Catalog, changes: dict[str, Any], kind: str, detail: str
) -> None:
    problems = nodes.check(workflow(**changes), catalog)
    assert [found.type for found in problems] == [kind]
    assert detail in problems[0].details
    assert problems[0].node_id == "2"


def test_a_missing_input_is_told(catalog: nodes.Catalog) -> None:
    broken = workflow()
    del broken["2"]["inputs"]["image"]
    refusal = nodes.refusal(nodes.check(broken, catalog), broken).to_dict()
    assert refusal["location"] == "prompt.2.inputs.image"
    assert refusal["node_errors"]["2"]["errors"] == [
        {
            "type": "required_input_missing",
            "message": "Required input is missing",
            "details": "image",
            "extra_info": {"input_name": "image"},
        }
    ]


@pytest.mark.parametrize(
    ("meta", "called"),
    [
        ({"title": "The end"}, "Node 2 'The end' (Sampler): "),
        ({"title": "Sampler"}, "Node 2 (Sampler): "),
        ({"title": " "}, "Node 2 (Sampler): "),
        ({"title": 5}, "Node 2 (Sampler): "),
        ("The end", "Node 2 (Sampler): "),
    ],
)
def test_a_node_is_called_by_its_title(catalog: nodes.Catalog, meta: Any, called: str) -> None:
    broken = workflow(sampler="eulr")
    broken["2"]["_meta"] = meta
    refusal = nodes.refusal(nodes.check(broken, catalog), broken)
    assert refusal.message.startswith(called)


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        ("sd15.safetensors", True),
        ("https://host/x.safetensors", True),
        ("sd14.safetensors", False),
    ],
)
def test_a_model_is_there_or_a_url(catalog: nodes.Catalog, name: str, is_known: bool) -> None:
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name=name),
        "2": node("Save", images=["1", 0]),
    }
    problems = nodes.check(graph, catalog)
    assert (problems == []) is is_known
    for problem in problems:
        assert problem.closest[0] == "sd15.safetensors"
        assert problem.folder == "checkpoints"
        assert nodes.stale_classes(problems, graph) == {"CheckpointLoaderSimple"}
        hint = nodes.refusal(problems, graph).to_dict()["hint"]
        assert "sd15.safetensors" in hint
        assert "'checkpoints'" in hint


def test_a_url_of_another_kind_is_told_what_can_be_fetched(catalog: nodes.Catalog) -> None:
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="ftp://host/sd15.safetensors"),
        "2": node("Save", images=["1", 0]),
    }
    hint = nodes.refusal(nodes.check(graph, catalog), graph).hint
    assert hint is not None
    assert hint.startswith("A URL that can be fetched begins with http://, https://, s3://")


def test_names_that_are_digests_are_not_suggested() -> None:
    digest = "vTz4Yc1dQk-9mR_0aBcDeFgHiJkLmNoP.safetensors"
    plain = "realistic_vision_v51_inpainting1.safetensors"
    listed = {"input": {"required": {"ckpt_name": [[digest, plain]]}}, "python_module": "nodes"}
    catalog = nodes.Catalog()
    catalog.replace({**OBJECT_INFO, "CheckpointLoaderSimple": {**listed, "output": ["MODEL"]}})
    for name, closest in ((f"{digest}2", ()), (f"{plain}2", (plain,))):
        graph = {
            "1": node("CheckpointLoaderSimple", ckpt_name=name),
            "2": node("Save", images=["1", 0]),
        }
        [problem] = nodes.check(graph, catalog)
        assert problem.closest == closest


def test_lists_of_custom_nodes_and_uploads_are_not_final(catalog: nodes.Catalog) -> None:
    graph = {"1": node("Custom", choice="c"), "2": node("Save", images=["1", 0])}
    assert nodes.check(graph, catalog) == []


def test_an_unknown_class_is_told_first(catalog: nodes.Catalog) -> None:
    graph = workflow(sampler="wrong") | {"9": node("Samplr"), "8": node("x" * 500)}
    problems = nodes.check(graph, catalog)
    assert [(found.node_id, found.type) for found in problems] == [
        ("9", "invalid_prompt"),
        ("8", "invalid_prompt"),
    ]
    refusal = nodes.refusal(problems, graph).to_dict()
    assert refusal["location"] == "prompt.9.class_type"
    assert "Sampler" in refusal["hint"]
    assert "(and 1 more)" in refusal["message"]
    assert set(refusal["node_errors"]) == {"9", "8"}


def test_no_output_is_told(catalog: nodes.Catalog) -> None:
    with pytest.raises(errors.NoOutput):
        nodes.check({"1": node("Loader", image="a.png")}, catalog)


def test_one_good_output_is_enough(catalog: nodes.Catalog) -> None:
    graph = workflow() | {"4": node("Save", images=["9", 0])}
    assert nodes.check(graph, catalog) == []


def test_a_cycle_that_two_outputs_need_is_told_once(catalog: nodes.Catalog) -> None:
    graph = workflow(image=["2", 0]) | {"4": node("Save", images=["2", 0])}
    assert [found.type for found in nodes.check(graph, catalog)] == ["dependency_cycle"]


class TestModels:
    """Loaders of the table: what they list is closed, in either form; a URL passes."""

    def graph(self, **inputs: Any) -> dict[str, Any]:
        loader = {"clip_name1": "clip_l.safetensors", "clip_name2": "clip_l.safetensors", **inputs}
        return {
            "1": node("DualCLIPLoader", type="anything", **loader),
            "2": node("Save", images=["1", 0]),
        }

    @pytest.mark.parametrize(
        ("name", "closest"),
        [("clip_name1", "t5xxl_fp16.safetensors"), ("clip_name2", "t5xxl.safetensors")],
    )
    def test_a_name_that_is_not_there(
        self, catalog: nodes.Catalog, name: str, closest: str
    ) -> None:
        workflow = self.graph(**{name: "t5xxl_fp8.safetensors"})
        problems = nodes.check(workflow, catalog)
        refusal = nodes.refusal(problems, workflow)
        assert [found.type for found in problems] == ["value_not_in_list"]
        assert refusal.location == f"prompt.1.inputs.{name}"
        assert refusal.hint is not None
        assert f"The closest: {closest}" in refusal.hint
        assert "models folder 'text_encoders'" in refusal.hint

    @pytest.mark.parametrize("scheme", ["https", "s3", "file", "HF"])
    def test_a_url_passes(self, catalog: nodes.Catalog, scheme: str) -> None:
        workflow = self.graph(clip_name1=f"{scheme}://a/b", clip_name2=f"{scheme}://a/c")
        assert nodes.check(workflow, catalog) == []
