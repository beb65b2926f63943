"""The embedded engine with classes that a pack of custom nodes could bring."""

from __future__ import annotations

import sys

from gateway.embedded.__main__ import main
from gateway.embedded.folders import Folders
from gateway.embedded.nodes import CLASSES
from gateway.embedded.nodes.definition import Context, InputSpec, Node, Result
from gateway.embedded.nodes.loaders import Weights


def _loras(folders: Folders) -> list[str]:
    return ["None", *folders.model_names("loras")]


def _loader(name: str, weights: InputSpec, folder: str) -> Node:
    def run(context: Context, weights: str) -> Result:
        if context.folders.model_path(folder, weights) is None:
            raise FileNotFoundError(f"There is no {weights} in {folder}.")
        return Result((Weights(weights),))

    return Node(
        name=name,
        display_name=name,
        category="pack",
        required={"weights": weights},
        outputs=("VAE",),
        module="custom_nodes.pack",
        run=run,
    )


for node in (
    _loader("Style / Loader", (_loras,), "loras"),
    _loader("LoaderByText", ("STRING", {}), "embeddings"),
    _loader("LoaderOfSamplers", (["euler", "heun"],), "loras"),
):
    CLASSES[node.name] = node

if __name__ == "__main__":
    sys.exit(main())
