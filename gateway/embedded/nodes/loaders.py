"""Nodes that open weights: they read the header, and keep only a name to draw by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.embedded.folders import Folders
from gateway.embedded.nodes.definition import Context, InputSpec, Node, Result, number
from gateway.embedded.nodes.weights import read_header

CLIP_TYPES = [
    "stable_diffusion", "stable_cascade", "sd3", "stable_audio", "mochi", "ltxv", "pixart",
    "cosmos", "lumina2", "wan", "hidream", "chroma", "ace", "omnigen2", "qwen_image",
    "hunyuan_image",
]  # fmt: skip
CLIP_DESCRIPTION = (
    "[Recipes]\n\nstable_diffusion: clip-l\nstable_cascade: clip-g\nsd3: t5 xxl/ clip-g / clip-l\n"
    "stable_audio: t5 base\nmochi: t5 xxl\ncosmos: old t5 xxl\nlumina2: gemma 2 2B\nwan: umt5 xxl\n"
    " hidream: llama-3.1 (Recommend) or t5\nomnigen2: qwen vl 2.5 3B"
)
LORA_DESCRIPTION = (
    "LoRAs are used to modify diffusion and CLIP models, altering the way in which latents are "
    "denoised such as applying styles. Multiple LoRA nodes can be linked together."
)
# LoraLoaderModelOnly has one output and, in ComfyUI, both tooltips.
LORA_TOOLTIPS = ("The modified diffusion model.", "The modified CLIP model.")
NO_WEIGHTS = "pixel_space"


@dataclass(frozen=True, slots=True)
class Weights:
    """What stands for a model: where it came from, and what was put on top of it."""

    name: str
    loras: tuple[tuple[str, float], ...] = ()

    def with_lora(self, name: str, strength: float) -> Weights:
        return replace(self, loras=(*self.loras, (name, strength))) if strength else self


def load_checkpoint(context: Context, ckpt_name: str) -> Result:
    weights = _open(context, "checkpoints", ckpt_name)
    return Result((weights, weights, weights))


def load_unet(context: Context, unet_name: str, weight_dtype: str) -> Result:
    return Result((_open(context, "diffusion_models", unet_name),))


def load_clip(
    context: Context,
    clip_name: str,
    type: str = "stable_diffusion",  # noqa: A002  (the input's name on the wire)
    device: str = "default",
) -> Result:
    return Result((_open(context, "text_encoders", clip_name),))


def load_vae(context: Context, vae_name: str) -> Result:
    if vae_name == NO_WEIGHTS:
        return Result((Weights(vae_name),))
    return Result((_open(context, "vae", vae_name),))


def load_lora(
    context: Context,
    model: Weights,
    clip: Weights,
    lora_name: str,
    strength_model: float,
    strength_clip: float,
) -> Result:
    if strength_model or strength_clip:
        _open(context, "loras", lora_name)
    return Result(
        (model.with_lora(lora_name, strength_model), clip.with_lora(lora_name, strength_clip))
    )


def load_lora_model_only(
    context: Context, model: Weights, lora_name: str, strength_model: float
) -> Result:
    if strength_model:
        _open(context, "loras", lora_name)
    return Result((model.with_lora(lora_name, strength_model),))


def _open(context: Context, kind: str, name: str) -> Weights:
    path = context.folders.model_path(kind, name)
    if path is None:
        raise FileNotFoundError(f"Model in folder '{kind}' with filename '{name}' not found.")
    read_header(path)
    return Weights(name)


def _vae_names(folders: Folders) -> list[str]:
    return [*folders.model_names("vae"), NO_WEIGHTS]


def _choice(kind: str, tooltip: str | None = None) -> InputSpec:
    def names(folders: Folders) -> list[str]:
        return folders.model_names(kind)

    return (names, {"tooltip": tooltip}) if tooltip else (names,)


def _strength(tooltip: str | None = None) -> InputSpec:
    return number(1.0, -100.0, 100.0, 0.01, **({"tooltip": tooltip} if tooltip else {}))


NODES = (
    Node(
        name="CheckpointLoaderSimple",
        display_name="Load Checkpoint",
        category="loaders",
        description=(
            "Loads a diffusion model checkpoint, diffusion models are used to denoise latents."
        ),
        required={
            "ckpt_name": _choice("checkpoints", "The name of the checkpoint (model) to load.")
        },
        outputs=("MODEL", "CLIP", "VAE"),
        output_tooltips=(
            "The model used for denoising latents.",
            "The CLIP model used for encoding text prompts.",
            "The VAE model used for encoding and decoding images to and from latent space.",
        ),
        run=load_checkpoint,
    ),
    Node(
        name="UNETLoader",
        display_name="Load Diffusion Model",
        category="advanced/loaders",
        required={
            "unet_name": _choice("diffusion_models"),
            "weight_dtype": (["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],),
        },
        outputs=("MODEL",),
        run=load_unet,
    ),
    Node(
        name="CLIPLoader",
        display_name="Load CLIP",
        category="advanced/loaders",
        description=CLIP_DESCRIPTION,
        required={"clip_name": _choice("text_encoders"), "type": (CLIP_TYPES,)},
        optional={"device": (["default", "cpu"], {"advanced": True})},
        outputs=("CLIP",),
        run=load_clip,
    ),
    Node(
        name="VAELoader",
        display_name="Load VAE",
        category="loaders",
        required={"vae_name": (_vae_names,)},
        outputs=("VAE",),
        run=load_vae,
    ),
    Node(
        name="LoraLoader",
        display_name="Load LoRA",
        category="loaders",
        description=LORA_DESCRIPTION,
        required={
            "model": ("MODEL", {"tooltip": "The diffusion model the LoRA will be applied to."}),
            "clip": ("CLIP", {"tooltip": "The CLIP model the LoRA will be applied to."}),
            "lora_name": _choice("loras", "The name of the LoRA."),
            "strength_model": _strength(
                "How strongly to modify the diffusion model. This value can be negative."
            ),
            "strength_clip": _strength(
                "How strongly to modify the CLIP model. This value can be negative."
            ),
        },
        outputs=("MODEL", "CLIP"),
        output_tooltips=LORA_TOOLTIPS,
        run=load_lora,
    ),
    Node(
        name="LoraLoaderModelOnly",
        display_name="LoraLoaderModelOnly",
        category="loaders",
        description=LORA_DESCRIPTION,
        required={
            "model": ("MODEL",),
            "lora_name": _choice("loras"),
            "strength_model": _strength(),
        },
        outputs=("MODEL",),
        output_tooltips=LORA_TOOLTIPS,
        run=load_lora_model_only,
    ),
)
