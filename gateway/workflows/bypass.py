"""Nodes taken out of a graph, and its wires joined over the gap; pure.

What a wire carries is told by the name of the input that it ends in: a wire into `model` is joined
with what the node that goes had at `model`, one into `samples` with what it had at `latent_image`.
A wire that cannot be joined is dropped where ComfyUI can do without it (`OPTIONAL`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gateway import graph

_WAN = ("clip_vision_output", "start_image", "end_image", "control_video", "reference_image")

#: class -> inputs that may stay empty, of the nodes whose inputs people switch off.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "ControlNetApplyAdvanced": ("vae",),
    "CosmosImageToVideoLatent": ("start_image", "end_image"),
    "CosmosPredict2ImageToVideoLatent": ("start_image", "end_image"),
    "CreateVideo": ("audio",),
    "Hunyuan3Dv2ConditioningMultiView": ("front", "left", "back", "right"),
    "HunyuanImageToVideo": ("start_image",),
    "ImageCompositeMasked": ("mask",),
    "ImageStitch": ("image2",),
    "LTXVScheduler": ("latent",),
    "LatentCompositeMasked": ("mask",),
    "ReferenceLatent": ("latent",),
    "TextEncodeQwenImageEdit": ("vae", "image"),
    "TextEncodeQwenImageEditPlus": ("vae", "image1", "image2", "image3"),
    "Wan22FunControlToVideo": ("ref_image", "control_video"),
    "Wan22ImageToVideoLatent": ("start_image",),
    "WanAnimateToVideo": (
        *("clip_vision_output", "reference_image", "face_video", "pose_video"),
        *("background_video", "character_mask", "continue_motion"),
    ),
    "WanCameraImageToVideo": (*_WAN[:2], "camera_conditions"),
    "WanFirstLastFrameToVideo": (
        *("clip_vision_start_image", "clip_vision_end_image", "start_image", "end_image"),
    ),
    "WanFunControlToVideo": (*_WAN[:2], "control_video"),
    "WanFunInpaintToVideo": _WAN[:3],
    "WanHuMoImageToVideo": ("audio_encoder_output", "ref_image"),
    "WanImageToVideo": _WAN[:2],
    "WanSoundImageToVideo": ("audio_encoder_output", "ref_image", "control_video", "ref_motion"),
    "WanVaceToVideo": ("control_video", "control_masks", "reference_image"),
}

#: What an input takes, where its name is not the word for it.
_KINDS = {
    "cond": "conditioning",
    "conditioning_from": "conditioning",
    "conditioning_to": "conditioning",
    "control_video": "image",
    "end_image": "image",
    "images": "image",
    "init_image": "image",
    "input_image": "image",
    "latent_image": "latent",
    "latents": "latent",
    "negative": "conditioning",
    "pixels": "image",
    "positive": "conditioning",
    "ref_image": "image",
    "reference_image": "image",
    "samples": "latent",
    "start_image": "image",
    "unet": "model",
}
_NUMBERED = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class Gap:
    """A wire that nothing can be put in the place of."""

    #: The node that was to be taken out, and where its wire leads.
    node_id: str
    consumer_id: str
    name: str


def without(workflow: graph.Graph, gone: Collection[str]) -> tuple[graph.Graph, list[Gap]]:
    """Return a copy without these nodes, and without what only they needed, and its gaps."""
    kept: graph.Graph = {}
    gaps: list[Gap] = []
    for node_id, node in workflow.items():
        if node_id in gone:
            continue
        inputs = node.get("inputs", {})
        cut = [name for name, value in inputs.items() if graph.is_link(value) and value[0] in gone]
        kept[node_id] = _rewired(workflow, gone, node_id, cut, gaps) if cut else node
    return _without_idle(workflow, kept, gone), gaps


def _rewired(
    workflow: graph.Graph, gone: Collection[str], node_id: str, cut: list[str], gaps: list[Gap]
) -> dict[str, Any]:
    node = workflow[node_id]
    inputs = dict(node["inputs"])
    for name in cut:
        source = _source(workflow, gone, inputs[name], name)
        if source is not None:
            inputs[name] = source
        elif name in OPTIONAL.get(node["class_type"], ()):
            del inputs[name]
        else:
            gaps.append(Gap(inputs[name][0], node_id, name))
    return {**node, "inputs": inputs}


def _source(
    workflow: graph.Graph, gone: Collection[str], link: list[Any], name: str
) -> list[Any] | None:
    """Return the output that a wire starts from when all of these nodes are passed by."""
    seen: set[str] = set()
    while link[0] in gone:
        if link[0] in seen:
            return None
        seen.add(link[0])
        before = _passed_on(workflow[link[0]], link[1], name)
        if before is None:
            return None
        link = before
    return link


def _passed_on(node: dict[str, Any], output: float, name: str) -> list[Any] | None:
    """Return what a node has at the input that is like one of its outputs."""
    links: dict[str, list[Any]] = {
        key: value for key, value in node.get("inputs", {}).items() if graph.is_link(value)
    }
    if name in links:
        return links[name]
    alike = [value for key, value in links.items() if _kind(key) == _kind(name)]
    if not alike:
        return None
    # positive and negative go in and come out in one order.
    return alike[int(output)] if 0 <= output < len(alike) else alike[0]


def _kind(name: str) -> str:
    word = name.lower()
    if word not in _KINDS:
        word = _NUMBERED.sub("", word)
    return _KINDS.get(word, word)


def _without_idle(workflow: graph.Graph, kept: graph.Graph, gone: Collection[str]) -> graph.Graph:
    """Drop what nodes that are gone needed, and nobody needs now."""
    waiting = [link[0] for node_id in gone for link in _links(workflow[node_id])]
    if not waiting:
        return kept
    uses: dict[str, int] = {}
    for node in kept.values():
        for link in _links(node):
            uses[link[0]] = uses.get(link[0], 0) + 1
    while waiting:
        node_id = waiting.pop()
        if node_id not in kept or uses.get(node_id):
            continue
        for link in _links(kept.pop(node_id)):
            uses[link[0]] -= 1
            waiting.append(link[0])
    return kept


def _links(node: dict[str, Any]) -> list[list[Any]]:
    return [value for value in node.get("inputs", {}).values() if graph.is_link(value)]
