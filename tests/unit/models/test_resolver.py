"""Which inputs name weights by URL, and where those belong."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from gateway import errors, graph
from gateway.models.resolver import Facts, ModelRef, Resolver, model_refs

URL = "https://host/m.safetensors"
RECORDED = Path(__file__).parents[4] / "shared" / "data" / "object_info.json"

FOLDERS = {
    "checkpoints": ("sd15.safetensors", "sdxl.safetensors"),
    "loras": ("a.safetensors", "sub/b.safetensors"),
    "vae": ("vae.pt",),
    "text_encoders": ("t5.safetensors",),
    "clip_vision": (),
    "diffusion_models": (),
    "controlnet": (),
    "upscale_models": (),
    "ipadapter": (),
}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def one(name: str, *choices: str, folders: dict[str, tuple[str, ...]] = FOLDERS) -> Facts:
    return Facts(folders, {"Custom": {name: choices}})


def folder_of(name: str, facts: Facts, given: dict[str, dict[str, str]] | None = None) -> str:
    [found] = model_refs({"1": node("Custom", **{name: URL})}, facts, given or {})
    return found.folder


class TestTable:
    def test_it_needs_no_other_facts(self) -> None:
        workflow = {
            "1": node("CheckpointLoaderSimple", ckpt_name=URL),
            "2": node("DualCLIPLoader", clip_name1="t5.safetensors", clip_name2="HF://o/r/x.st"),
        }
        assert model_refs(workflow, Facts(), {}) == [
            ModelRef("1", "ckpt_name", URL, "checkpoints"),
            ModelRef("2", "clip_name2", "HF://o/r/x.st", "text_encoders"),
        ]

    @pytest.mark.parametrize("scheme", ["http", "https", "s3", "gs", "az", "hf", "file"])
    def test_every_scheme_is_a_url(self, scheme: str) -> None:
        workflow = {"1": node("LoraLoader", lora_name=f"{scheme}://a/b")}
        [found] = model_refs(workflow, Facts(), {})
        assert (found.folder, found.location) == ("loras", "prompt.1.inputs.lora_name")

    @pytest.mark.skipif(not RECORDED.exists(), reason="the recorded object_info is not there")
    def test_its_classes_are_those_of_comfyui(self) -> None:
        known = json.loads(RECORDED.read_text())["object_info"]
        assert graph.MODEL_INPUTS.keys() - known.keys() == set()
        for class_type, inputs in graph.MODEL_INPUTS.items():
            taken = known[class_type]["input"]
            assert inputs.keys() <= {**taken["required"], **taken.get("optional", {})}.keys()


class TestMatch:
    @pytest.mark.parametrize(
        ("choices", "folder"),
        [
            (("sd15.safetensors", "sdxl.safetensors"), "checkpoints"),
            (("sdxl.safetensors", "sd15.safetensors", "None"), "checkpoints"),
            (("None", "sub/b.safetensors", "a.safetensors"), "loras"),
            (("Baked VAE", "vae.pt"), "vae"),
            (("vae.pt", "taesd", "pixel_space"), "vae"),
        ],
    )
    def test_a_list_that_is_one_folder(self, choices: tuple[str, ...], folder: str) -> None:
        assert folder_of("weights", one("weights", *choices)) == folder

    @pytest.mark.parametrize(
        ("name", "folder"),
        [
            ("unet_name", "diffusion_models"),
            ("control_net_name", "controlnet"),
            ("clip_name", "clip_vision"),
            ("controlnet_2", "controlnet"),
            ("upscale_model", "upscale_models"),
            ("ipadapter", "ipadapter"),
        ],
    )
    @pytest.mark.parametrize("choices", [(), ("None",), ("none", "[None]")])
    def test_of_several_empty_folders_the_one_that_the_input_is_named_for(
        self, name: str, folder: str, choices: tuple[str, ...]
    ) -> None:
        assert folder_of(name, one(name, *choices)) == folder

    def test_a_name_that_any_loader_may_use_tells_nothing(self) -> None:
        empty = {"upscale_models": (), "bbox": ()}
        with pytest.raises(errors.UnknownModelFolder):
            folder_of("model_name", one("model_name", folders=empty))

    def test_numbers_of_an_input_do_not_count(self) -> None:
        empty = {"checkpoints": (), "loras": ()}
        for name in ("lora_name", "lora_name_1", "lora_name2", "lora_03", "lora"):
            assert folder_of(name, one(name, folders=empty)) == "loras"

    def test_a_list_of_two_folders_is_the_one_that_the_input_is_named_for(self) -> None:
        facts = one("clip_name", "t5.safetensors", "t5.gguf")
        assert folder_of("clip_name", facts) == "text_encoders"

    def test_two_folders_with_the_same_files(self) -> None:
        folders = {"loras": ("a.st",), "style_models": ("a.st",)}
        assert folder_of("lora_name", one("lora_name", "a.st", folders=folders)) == "loras"
        with pytest.raises(
            errors.UnknownModelFolder, match=r"several folders of /models \(loras, style"
        ):
            folder_of("weights", one("weights", "a.st", folders=folders))

    @pytest.mark.parametrize("choices", [("euler", "heun"), ("other.safetensors",), ("cuda",)])
    def test_a_list_of_anything_else_is_refused(self, choices: tuple[str, ...]) -> None:
        with pytest.raises(errors.UnknownModelFolder) as refused:
            folder_of("sampler_name", one("sampler_name", *choices))
        told = refused.value
        assert told.location == "prompt.1.inputs.sampler_name"
        assert told.hint is not None
        assert "MODEL_INPUTS=Custom.sampler_name=<folder>" in told.hint
        for way in ("table", f"object_info ({', '.join(choices)})", "/models", "MODEL_INPUTS"):
            assert way in told.message

    def test_what_lists_nothing_is_left_alone(self) -> None:
        workflow = {
            "1": node("Custom", text=URL, url="s3://a/b", weights="a.safetensors"),
            "2": node("Loader", image=URL, file=URL),
        }
        facts = Facts(FOLDERS, {"Custom": {"weights": ("a.safetensors",)}, "Loader": {"image": ()}})
        assert model_refs(workflow, facts, {}) == []


class TestModelInputs:
    def test_they_tell_what_the_lists_do_not(self) -> None:
        given = {"Custom": {"weights": "loras"}}
        for facts in (one("weights"), one("weights", "euler"), one("weights", "x.st"), Facts()):
            assert folder_of("weights", facts, given) == "loras"

    def test_a_list_that_is_one_folder_wins(self) -> None:
        facts = one("weights", "vae.pt")
        assert folder_of("weights", facts, {"Custom": {"weights": "loras"}}) == "vae"

    def test_they_make_a_model_of_a_text_and_of_a_medium(self) -> None:
        given = {"Custom": {"text": "loras", "file": "vae"}}
        assert folder_of("text", Facts(), given) == "loras"
        assert folder_of("file", one("file"), given) == "vae"


class Comfy:
    """What a ComfyUI tells, and how often it was asked."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.asked: list[str] = []
        self.listings = 0

    async def combos(self, classes: Collection[str]) -> dict[str, Any]:
        self.asked += classes
        return {name: self.facts.combos.get(name, {}) for name in classes}

    async def last_listing(self) -> Any:
        self.listings += 1
        return self.facts.folders


class TestResolver:
    async def test_the_table_asks_nobody(self) -> None:
        comfy = Comfy(Facts())
        [found] = await Resolver(comfy, {}).resolve({"1": node("VAELoader", vae_name=URL)})
        assert (found.folder, comfy.asked, comfy.listings) == ("vae", [], 0)

    async def test_a_picture_asks_nobody(self) -> None:
        comfy = Comfy(one("image", "vae.pt"))
        pictured = {"1": node("LoadImage", image=URL)}
        assert await Resolver(comfy, {}).resolve(pictured) == []
        assert comfy.asked == []
        given = {"LoadImage": {"image": "vae"}}
        [found] = await Resolver(comfy, given).resolve(pictured)
        assert (found.folder, comfy.asked) == ("vae", ["LoadImage"])

    async def test_what_files_told_is_asked_once(self) -> None:
        comfy = Comfy(one("weights", "vae.pt"))
        resolver = Resolver(comfy, {})
        for _ in range(3):
            [found] = await resolver.resolve({"1": node("Custom", weights=URL)})
            assert found.folder == "vae"
        assert (comfy.asked, comfy.listings) == (["Custom"], 1)

    async def test_what_a_name_told_is_asked_again(self) -> None:
        comfy = Comfy(one("lora_name", folders={"loras": (), "vae": ()}))
        resolver = Resolver(comfy, {})
        for _ in range(2):
            [found] = await resolver.resolve({"1": node("Custom", lora_name=URL)})
            assert found.folder == "loras"
        assert comfy.asked == ["Custom", "Custom"]

    async def test_a_text_needs_no_listing_and_is_asked_about_once(self) -> None:
        comfy = Comfy(one("weights", "vae.pt"))
        resolver = Resolver(comfy, {})
        for _ in range(2):
            assert await resolver.resolve({"1": node("Custom", text=URL)}) == []
        assert (comfy.asked, comfy.listings) == (["Custom"], 0)

    async def test_a_link_made_between_two_questions_does_no_harm(self) -> None:
        class Moving(Comfy):
            async def last_listing(self) -> Any:
                self.listings += 1
                return FOLDERS if self.listings > 1 else {**FOLDERS, "vae": ("vae.pt", "new.pt")}

        comfy = Moving(one("weights", "vae.pt"))
        [found] = await Resolver(comfy, {}).resolve({"1": node("Custom", weights=URL)})
        assert (found.folder, comfy.listings) == ("vae", 2)

    async def test_what_stays_unknown_is_refused(self) -> None:
        with pytest.raises(errors.UnknownModelFolder):
            await Resolver(Comfy(one("weights", "x.pt")), {}).resolve(
                {"1": node("Custom", weights=URL)}
            )
