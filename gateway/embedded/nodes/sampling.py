"""Text to image and image to image as a procedural drawing: same graph and frames, no diffusion."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import numpy as np

from gateway.embedded.nodes import drawing
from gateway.embedded.nodes.definition import Context, Node, Result, integer, number
from gateway.embedded.nodes.images import MAX_SIDE
from gateway.embedded.nodes.loaders import Weights
from gateway.embedded.nodes.pixels import Pixels, to_pillow

SAMPLERS = [
    "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2",
    "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp",
    "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu",
    "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm", "ipndm_v", "deis",
    "res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp",
    "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc", "uni_pc_bh2",
]  # fmt: skip
SCHEDULERS = [
    "simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal",
    "linear_quadratic", "kl_optimal",
]  # fmt: skip

Conditioning: TypeAlias = tuple[Weights, str]


def clip_text_encode(context: Context, text: str, clip: Weights) -> Result:
    return Result(((clip, text),))


def empty_latent(context: Context, width: int, height: int, batch_size: int = 1) -> Result:
    shape = (batch_size, height // drawing.SCALE, width // drawing.SCALE, 3)
    return Result((np.zeros(shape, dtype=np.float32),))


def vae_encode(context: Context, pixels: Pixels, vae: Weights) -> Result:
    return Result((drawing.encode(pixels),))


def vae_decode(context: Context, samples: Pixels, vae: Weights) -> Result:
    return Result((drawing.decode(samples),))


def ksampler(  # noqa: PLR0913, PLR0917  (the inputs of the node)
    context: Context,
    model: Weights,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Pixels,
    denoise: float = 1.0,
) -> Result:
    recipe = repr((model, seed, cfg, sampler_name, scheduler, positive, negative))
    latent = latent_image
    for step, latent in enumerate(
        drawing.steps_towards(latent_image, recipe, steps, denoise), start=1
    ):
        context.step(step, steps, partial(to_pillow, latent[0]))
    return Result((latent,))


NODES = (
    Node(
        name="CLIPTextEncode",
        display_name="CLIP Text Encode (Prompt)",
        category="conditioning",
        description=(
            "Encodes a text prompt using a CLIP model into an embedding that can be used to guide "
            "the diffusion model towards generating specific images."
        ),
        required={
            "text": (
                "STRING",
                {"multiline": True, "dynamicPrompts": True, "tooltip": "The text to be encoded."},
            ),
            "clip": ("CLIP", {"tooltip": "The CLIP model used for encoding the text."}),
        },
        outputs=("CONDITIONING",),
        output_tooltips=(
            "A conditioning containing the embedded text used to guide the diffusion model.",
        ),
        run=clip_text_encode,
    ),
    Node(
        name="EmptyLatentImage",
        display_name="Empty Latent Image",
        category="latent",
        description="Create a new batch of empty latent images to be denoised via sampling.",
        required={
            "width": integer(
                512, 16, MAX_SIDE, step=8, tooltip="The width of the latent images in pixels."
            ),
            "height": integer(
                512, 16, MAX_SIDE, step=8, tooltip="The height of the latent images in pixels."
            ),
            "batch_size": integer(1, 1, 4096, tooltip="The number of latent images in the batch."),
        },
        outputs=("LATENT",),
        output_tooltips=("The empty latent image batch.",),
        run=empty_latent,
    ),
    Node(
        name="VAEEncode",
        display_name="VAE Encode",
        category="latent",
        required={"pixels": ("IMAGE",), "vae": ("VAE",)},
        outputs=("LATENT",),
        run=vae_encode,
    ),
    Node(
        name="VAEDecode",
        display_name="VAE Decode",
        category="latent",
        description="Decodes latent images back into pixel space images.",
        required={
            "samples": ("LATENT", {"tooltip": "The latent to be decoded."}),
            "vae": ("VAE", {"tooltip": "The VAE model used for decoding the latent."}),
        },
        outputs=("IMAGE",),
        output_tooltips=("The decoded image.",),
        run=vae_decode,
    ),
    Node(
        name="KSampler",
        display_name="KSampler",
        category="sampling",
        description=(
            "Uses the provided model, positive and negative conditioning to denoise the latent "
            "image."
        ),
        required={
            "model": ("MODEL", {"tooltip": "The model used for denoising the input latent."}),
            "seed": integer(
                0,
                0,
                2**64 - 1,
                control_after_generate=True,
                tooltip="The random seed used for creating the noise.",
            ),
            "steps": integer(
                20, 1, 10000, tooltip="The number of steps used in the denoising process."
            ),
            "cfg": number(
                8.0,
                0.0,
                100.0,
                0.1,
                round=0.01,
                tooltip=(
                    "The Classifier-Free Guidance scale balances creativity and adherence to the "
                    "prompt. Higher values result in images more closely matching the prompt "
                    "however too high values will negatively impact quality."
                ),
            ),
            "sampler_name": (
                SAMPLERS,
                {
                    "tooltip": (
                        "The algorithm used when sampling, this can affect the quality, speed, "
                        "and style of the generated output."
                    )
                },
            ),
            "scheduler": (
                SCHEDULERS,
                {
                    "tooltip": (
                        "The scheduler controls how noise is gradually removed to form the image."
                    )
                },
            ),
            "positive": (
                "CONDITIONING",
                {
                    "tooltip": (
                        "The conditioning describing the attributes you want to include in the "
                        "image."
                    )
                },
            ),
            "negative": (
                "CONDITIONING",
                {
                    "tooltip": (
                        "The conditioning describing the attributes you want to exclude from the "
                        "image."
                    )
                },
            ),
            "latent_image": ("LATENT", {"tooltip": "The latent image to denoise."}),
            "denoise": number(
                1.0,
                0.0,
                1.0,
                0.01,
                tooltip=(
                    "The amount of denoising applied, lower values will maintain the structure "
                    "of the initial image allowing for image to image sampling."
                ),
            ),
        },
        outputs=("LATENT",),
        output_tooltips=("The denoised latent.",),
        run=ksampler,
    ),
)
