"""Graphs that are built of a workflow: what wins, what is taken out, what is told of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway import errors, graph
from gateway.workflows import build
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling.presets import BUILT_IN, Preset
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow

P = Parameter


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


SAMPLED = {"sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
PICTURE: graph.Graph = {
    "4": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
    "10": node(
        "LoraLoader", model=["4", 0], clip=["4", 1], lora_name="own.safetensors", strength_model=1.0
    ),
    "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
    "6": node("CLIPTextEncode", text="a lamp", clip=["10", 1]),
    "7": node("CLIPTextEncode", text="blurred", clip=["10", 1]),
    "20": node("ControlNetLoader", control_net_name="pose.safetensors"),
    "21": node("LoadImage", image="pose.png"),
    "22": node(
        *("ControlNetApplyAdvanced",),
        positive=["6", 0],
        negative=["7", 0],
        control_net=["20", 0],
        image=["21", 0],
        strength=1.0,
    ),
    "3": node(
        *("KSampler",),
        model=["10", 0],
        positive=["22", 0],
        negative=["22", 1],
        latent_image=["5", 0],
        seed=1,
        steps=20,
        cfg=8.0,
        **SAMPLED,
    ),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", images=["8", 0], filename_prefix="picture"),
    "30": node("UpscaleModelLoader", model_name="4x.pth"),
    "31": node("ImageUpscaleWithModel", image=["8", 0], upscale_model=["30", 0]),
    "32": node("SaveImage", images=["31", 0], filename_prefix="large"),
}


def workflow(*parameters: Parameter, of: graph.Graph = PICTURE, **more: Any) -> Workflow:
    return Workflow("picture", {one.name: one for one in parameters}, of, **more)


def built(
    named: Workflow, preset: Preset | None = None, loras: tuple[Lora, ...] = (), **given: Any
) -> build.Built:
    before = copy.deepcopy(named.graph)
    made = build.build(named, given, preset, loras, lambda: 77)
    assert named.graph == before
    assert not _broken_links(made.workflow)
    return made


def _broken_links(made: graph.Graph) -> list[Any]:
    return [
        value
        for one in made.values()
        for value in one["inputs"].values()
        if graph.is_link(value) and value[0] not in made
    ]


def at(made: build.Built, node_id: str, name: str) -> Any:
    return made.workflow[node_id]["inputs"][name]


PROMPT = P("prompt", "string", places=(Place("6", "text"),))
STEPS = P("steps", "integer", min=1, max=100, places=(Place("3", "steps"),))
SEED = P("seed", "seed", places=(Place("3", "seed"),))
LORA = P("lora", "lora", places=(Place("10", "lora_name"),))
STRENGTH = P("strength", "float", default=0.5, places=(Place("10", "strength_model"),))
POSE = P("pose", "boolean", toggle=("22",))
POSE_IMAGE = P("pose_image", "image", places=(Place("21", "image"),))
LARGE = P("large", "boolean", default=True, toggle=("31",))


# What wins


def test_the_file_holds_where_nothing_else_is_said() -> None:
    named = workflow(PROMPT, STEPS, SEED, LORA, POSE)

    made = built(named)

    assert made.workflow == PICTURE
    assert made.changes == []


def test_the_default_wins_over_the_file() -> None:
    steps = P("steps", "integer", default=30, places=(Place("3", "steps"),))

    assert at(built(workflow(steps)), "3", "steps") == 30


def test_a_preset_wins_over_the_default() -> None:
    steps = P("steps", "integer", default=30, places=(Place("3", "steps"),))

    made = built(workflow(steps), BUILT_IN["draft"])

    assert at(made, "3", "steps") == 10
    assert at(made, "3", "cfg") == 5.0


def test_what_was_given_wins_over_the_preset() -> None:
    made = built(workflow(STEPS), BUILT_IN["draft"], steps=42)

    assert at(made, "3", "steps") == 42
    assert at(made, "3", "cfg") == 5.0


def test_a_value_goes_to_all_its_places() -> None:
    both = P("text", "string", places=(Place("6", "text"), Place("7", "text")))

    made = built(workflow(both), text="the same")

    assert at(made, "6", "text") == at(made, "7", "text") == "the same"


def test_a_place_that_is_not_there_yet_is_made() -> None:
    crop = P("crop", "string", places=(Place("5", "crop"),))

    made = built(workflow(crop), crop="center")

    assert at(made, "5", "crop") == "center"
    assert made.changes == ['5.inputs.crop: "center" is added']


@pytest.mark.parametrize("given", [{"seed": "random"}, {"seed": -1}, {}])
def test_a_random_seed_is_drawn(given: dict[str, Any]) -> None:
    seed = P("seed", "seed", default="random", places=(Place("3", "seed"),))

    made = built(workflow(seed), **given)

    assert build.used(workflow(seed), made.workflow) == {"seed": 77}


def test_a_random_seed_stays_in_its_range() -> None:
    seed = P("seed", "seed", min=10, max=12, places=(Place("3", "seed"),))

    assert at(built(workflow(seed), seed="random"), "3", "seed") == 10 + 77 % 3


def test_wrong_values_are_told_before_anything_is_built() -> None:
    with pytest.raises(errors.InvalidParameters) as caught:
        built(workflow(PROMPT, STEPS), prompt=5, steps="20")

    assert [one["parameter"] for one in caught.value.details["errors"]] == ["prompt", "steps"]


def test_a_preset_needs_a_sampler() -> None:
    with pytest.raises(errors.PresetRefused):
        built(workflow(of={"5": PICTURE["5"]}), BUILT_IN["draft"])


# Nodes taken out


@pytest.mark.parametrize("given", ["None", None])
def test_no_lora_takes_its_node_out_and_joins_the_wires(given: str | None) -> None:
    named = workflow(LORA, STRENGTH)

    made = built(named, lora=given)

    assert "10" not in made.workflow
    assert at(made, "3", "model") == ["4", 0]
    assert at(made, "6", "clip") == at(made, "7", "clip") == ["4", 1]
    # What speaks of a node that is gone says nothing.
    assert build.used(named, made.workflow) == {"lora": "None"}


def test_a_lora_stays_when_it_is_named() -> None:
    lora = P("lora", "lora", default="None", places=(Place("10", "lora_name"),))
    named = workflow(lora, STRENGTH)

    made = built(named, lora="detail.safetensors")

    used = {"lora": "detail.safetensors", "strength": 0.5}
    assert build.used(named, made.workflow) == used


def test_two_loras_in_a_row_go_together() -> None:
    second = node("LoraLoaderModelOnly", model=["10", 0], lora_name="b", strength_model=1.0)
    of = graph.with_inputs({**PICTURE, "11": second}, {("3", "model"): ["11", 0]})
    other = P("other", "lora", places=(Place("11", "lora_name"),))

    made = built(workflow(LORA, other, of=of), lora=None, other="None")

    assert at(made, "3", "model") == ["4", 0]


def test_a_boolean_that_is_false_passes_its_nodes_by() -> None:
    named = workflow(POSE, POSE_IMAGE)

    made = built(named, pose=False)

    assert at(made, "3", "positive") == ["6", 0]
    assert at(made, "3", "negative") == ["7", 0]
    # Nobody needs what only it needed.
    assert made.workflow.keys() == PICTURE.keys() - {"20", "21", "22"}
    assert build.used(named, made.workflow) == {"pose": False}


def test_a_boolean_that_is_true_leaves_them() -> None:
    named = workflow(POSE)

    assert build.used(named, built(named, pose=True).workflow) == {"pose": True}


def test_a_boolean_may_take_out_a_whole_branch() -> None:
    branch = P("large", "boolean", toggle=("31", "32"))

    made = built(workflow(branch), large=False)

    assert made.workflow.keys() == PICTURE.keys() - {"30", "31", "32"}


def test_pictures_are_joined_by_what_they_are() -> None:
    assert at(built(workflow(LARGE), large=False), "32", "images") == ["8", 0]


def test_a_latent_is_joined_past_a_second_sampler() -> None:
    of: graph.Graph = {
        **PICTURE,
        "40": node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5),
        "41": {**PICTURE["3"], "inputs": {**PICTURE["3"]["inputs"], "latent_image": ["40", 0]}},
        "8": node("VAEDecode", samples=["41", 0], vae=["4", 2]),
    }
    again = P("again", "boolean", toggle=("40", "41"))

    assert at(built(workflow(again, of=of), again=False), "8", "samples") == ["3", 0]


def test_a_picture_that_nobody_must_have_is_dropped() -> None:
    of: graph.Graph = {
        "1": node("LoadImage", image="a.png"),
        "2": node("LoadImage", image="b.png"),
        "3": node("TextEncodeQwenImageEditPlus", prompt="x", image1=["1", 0], image2=["2", 0]),
        "4": node("Save", conditioning=["3", 0]),
    }
    second = P("second", "boolean", toggle=("2",))

    made = built(workflow(second, of=of), second=False)

    assert made.workflow["3"]["inputs"] == {"prompt": "x", "image1": ["1", 0]}
    assert '3.inputs.image2: ["2", 0] is taken out' in made.changes


def test_a_wire_that_cannot_be_joined_is_refused() -> None:
    text = P("text", "boolean", toggle=("6",))

    with pytest.raises(errors.InvalidParameters) as caught:
        built(workflow(text), text=False)

    assert caught.value.location == "input.text"
    assert caught.value.details["errors"] == [
        {
            "parameter": "text",
            "given": False,
            "allowed": "true",
            "message": "the node 6 cannot be taken out: nothing can stand in its place at the "
            "input positive of the node 22 (ControlNetApplyAdvanced)",
        }
    ]


def test_a_file_name_is_no_wire() -> None:
    of: graph.Graph = {
        "1": node("LoadImage", image="a.png"),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0]),
    }
    with pytest.raises(errors.InvalidParameters):
        built(workflow(P("on", "boolean", toggle=("1",)), of=of), on=False)


def test_nodes_in_a_circle_are_refused() -> None:
    of: graph.Graph = {
        "1": node("ModelPatch", model=["2", 0]),
        "2": node("ModelPatch", model=["1", 0]),
        "3": node("KSampler", model=["1", 0]),
    }
    with pytest.raises(errors.InvalidParameters):
        built(workflow(P("on", "boolean", toggle=("1", "2")), of=of), on=False)


# Outputs, LoRAs, and what is told


def test_only_wanted_outputs_and_what_they_need_are_kept() -> None:
    named = workflow(LARGE, outputs=("9",))

    made = built(named)

    assert made.workflow.keys() == PICTURE.keys() - {"30", "31", "32"}


def test_loras_are_put_in_after_the_one_that_was_taken_out() -> None:
    made = built(workflow(LORA), None, (Lora("detail.safetensors", 0.7),), lora=None)

    source = at(made, "3", "model")[0]
    assert made.workflow[source]["inputs"]["lora_name"] == "detail.safetensors"
    assert made.workflow[source]["inputs"]["model"] == ["4", 0]
    assert f"{source}: LoraLoader is added" in made.changes


def test_each_change_is_told() -> None:
    prompt = "a very long prompt " * 20

    made = built(workflow(PROMPT, LORA, SEED), prompt=prompt, lora=None, seed=5)

    assert made.changes == [
        "10: LoraLoader is taken out",
        f'6.inputs.text: "a lamp" -> "{prompt[:120]}…"',
        '6.inputs.clip: ["10", 1] -> ["4", 1]',
        '7.inputs.clip: ["10", 1] -> ["4", 1]',
        '3.inputs.model: ["10", 0] -> ["4", 0]',
        "3.inputs.seed: 1 -> 5",
    ]


def test_a_place_in_the_graph_is_named_as_the_caller_knows_it() -> None:
    made = built(workflow(PROMPT, SEED))

    assert made.places == {
        "prompt.6.inputs.text": "input.prompt",
        "prompt.3.inputs.seed": "input.seed",
    }


def test_values_are_read_from_the_graph_that_was_admitted() -> None:
    named = workflow(POSE_IMAGE)
    made = built(named, pose_image="iVBORw0KGgo=")

    admitted = graph.with_inputs(made.workflow, {("21", "image"): "a1b2.png"})

    assert build.used(named, admitted) == {"pose_image": "a1b2.png"}


def test_any_graph_takes_a_preset_and_loras() -> None:
    made = build.edited(PICTURE, BUILT_IN["draft"], [Lora("detail.safetensors")])

    assert at(made, "3", "steps") == 10
    assert "3.inputs.steps: 20 -> 10" in made.changes
    assert not _broken_links(made.workflow)


def test_a_graph_that_nothing_is_put_into_stays() -> None:
    assert build.edited(PICTURE, None, []).workflow == PICTURE
