"""Which files of a repository in diffusers' layout are fetched."""

from __future__ import annotations

import pytest

from gateway.storage.hf_files import RepoFile, needed


def kept(*paths: str) -> set[str]:
    return {file.path for file in needed(RepoFile(path, 1, None, path) for path in paths)}


def test_configurations_and_one_set_of_weights() -> None:
    found = kept(
        *(".gitattributes", "README.md", "model_index.json", "whole.ckpt", "whole.safetensors"),
        *("unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
        *("unet/diffusion_pytorch_model.bin", "unet/diffusion_flax_model.msgpack"),
        *("text_encoder/pytorch_model.bin", "tokenizer/merges.txt", "vae/.cache/x.json"),
        *("vae_decoder/model.onnx", "images/sheet.png"),
    )
    assert found == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
    }


def test_without_an_index_weights_at_the_top_are_kept() -> None:
    assert kept("config.json", "model.safetensors", "pytorch_model.bin", "README.md") == {
        "config.json",
        "model.safetensors",
    }


@pytest.mark.parametrize("extension", ["safetensors", "bin"])
def test_half_precision_wins_where_there_is_one(extension: str) -> None:
    half = f"unet/model.fp16.{extension}"
    assert kept(half, f"unet/model.{extension}", f"unet/model.non_ema.{extension}") == {half}
    assert kept("vae/model.fp16.bin", "vae/model.safetensors") == {"vae/model.safetensors"}
