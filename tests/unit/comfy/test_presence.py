"""What a graph needs that this ComfyUI lacks."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.comfy.nodes import Catalog
from gateway.comfy.presence import Missing, missing


@pytest.fixture
def catalog() -> Catalog:
    found = Catalog()
    vae = {"required": {"vae_name": [["here.safetensors", "sub/x.pt"]]}}
    lora = {"required": {"lora_name": [["a.safetensors"]]}}
    found.replace(
        {
            "VAELoader": {"input": vae, "python_module": "nodes"},
            "LoraLoader": {"input": lora, "python_module": "nodes"},
            "SaveImage": {"input": {}, "output_node": True, "python_module": "nodes"},
        }
    )
    return found


def loader(name: Any) -> dict[str, Any]:
    return {"class_type": "VAELoader", "inputs": {"vae_name": name}}


class TestMissing:
    @pytest.mark.parametrize(
        "name", ["here.safetensors", "sub/x.pt", "https://host/a.pt", ["2", 0], "", "None", 7, None]
    )
    def test_nothing_lacks(self, catalog: Catalog, name: Any) -> None:
        found = missing({"1": loader(name), "2": {"class_type": "SaveImage"}}, catalog)
        assert not found

    def test_models_by_their_folder_each_once(self, catalog: Catalog) -> None:
        graph = {
            "1": loader("gone.pt"),
            "2": loader("gone.pt"),
            "3": {"class_type": "LoraLoader", "inputs": {"lora_name": "b.safetensors"}},
        }
        models = [
            {"folder": "loras", "name": "b.safetensors"},
            {"folder": "vae", "name": "gone.pt"},
        ]
        assert missing(graph, catalog) == Missing([], models)

    def test_classes(self, catalog: Catalog) -> None:
        graph = {"1": {"class_type": "B"}, "2": {"class_type": "A"}, "3": {"class_type": "B"}}
        assert missing(graph, catalog) == Missing(["A", "B"], [])
