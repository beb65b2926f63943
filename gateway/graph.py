"""Read and edit an API-format workflow; pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway import errors

Graph = dict[str, dict[str, Any]]

#: Inputs that hold media, by name: `wire/prompt.md`, What happens to the graph.
MEDIA_INPUTS = ("image", "audio", "video", "file")

#: Loaders that read a folder of pictures, and whether they want its absolute path.
FOLDER_LOADERS = {"VHS_LoadImages": False, "VHS_LoadImagesPath": True}

#: class -> input -> folder of models: the table of `wire/prompt.md`, and ComfyUI's newer loaders.
MODEL_INPUTS: dict[str, dict[str, str]] = {
    "CheckpointLoader": {"ckpt_name": "checkpoints", "config_name": "configs"},
    "CheckpointLoaderSimple": {"ckpt_name": "checkpoints"},
    "unCLIPCheckpointLoader": {"ckpt_name": "checkpoints"},
    "ImageOnlyCheckpointLoader": {"ckpt_name": "checkpoints"},
    "UNETLoader": {"unet_name": "diffusion_models"},
    "CLIPLoader": {"clip_name": "text_encoders"},
    "DualCLIPLoader": {f"clip_name{n}": "text_encoders" for n in (1, 2)},
    "TripleCLIPLoader": {f"clip_name{n}": "text_encoders" for n in (1, 2, 3)},
    "QuadrupleCLIPLoader": {f"clip_name{n}": "text_encoders" for n in (1, 2, 3, 4)},
    "CLIPVisionLoader": {"clip_name": "clip_vision"},
    "VAELoader": {"vae_name": "vae"},
    "LoraLoader": {"lora_name": "loras"},
    "LoraLoaderModelOnly": {"lora_name": "loras"},
    "ControlNetLoader": {"control_net_name": "controlnet"},
    "DiffControlNetLoader": {"control_net_name": "controlnet"},
    "UpscaleModelLoader": {"model_name": "upscale_models"},
    "StyleModelLoader": {"style_model_name": "style_models"},
    "GLIGENLoader": {"gligen_name": "gligen"},
    "HypernetworkLoader": {"hypernetwork_name": "hypernetworks"},
    "PhotoMakerLoader": {"photomaker_model_name": "photomaker"},
    "DiffusersLoader": {"model_path": "diffusers"},
    "ModelPatchLoader": {"name": "model_patches"},
    "AudioEncoderLoader": {"audio_encoder_name": "audio_encoders"},
    "CreateHookLora": {"lora_name": "loras"},
    "CreateHookLoraModelOnly": {"lora_name": "loras"},
    "CreateHookModelAsLora": {"ckpt_name": "checkpoints"},
    "CreateHookModelAsLoraModelOnly": {"ckpt_name": "checkpoints"},
}

#: An input that ComfyUI does not know and therefore ignores, but counts when it compares a node
#: with its cache: an output node that carries it runs again and writes files of its own.
UNIQUE_INPUT = "comfy_gateway_job"

#: How a URL begins that some storage fetches.
SCHEMES = ("http", "https", "s3", "gs", "az", "hf", "file")
_URL = re.compile(rf"(?:{'|'.join(SCHEMES)})://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: How the name of a job begins that nobody named.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_?")
#: What ComfyUI calls its files when nobody says.
_PREFIX = "ComfyUI"
#: What the API format has; ComfyUI notes beside it whether a node has changed since it ran.
_OF_A_NODE = ("inputs", "class_type", "_meta")
PREFIX_LENGTH = 200
NAME_BYTES = 255
#: What savers append to a prefix, as in `_00001_.flac`, and some room.
COUNTER_BYTES = 16


@dataclass(frozen=True)
class InputRef:
    """One value of a node's input."""

    node_id: str
    name: str
    value: str

    @property
    def location(self) -> str:
        """Where the caller finds it, as answers name it."""
        return f"prompt.{self.node_id}.inputs.{self.name}"


def is_link(value: Any) -> bool:
    """Whether an input's value is the output of another node: [node id, output]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def is_url(value: Any) -> bool:
    """Whether a value names something to fetch."""
    return isinstance(value, str) and _URL.match(value) is not None


def is_ui_format(value: Any) -> bool:
    """Whether a value is a workflow as the canvas saves it: {nodes: [..], links: [..], ..}."""
    return isinstance(value, dict) and isinstance(value.get("nodes"), list)


def check_shape(prompt: Any) -> Graph:
    """Return the graph when it has the shape of one; raises InvalidRequest, InvalidGraph."""
    if not prompt:
        raise errors.InvalidRequest("prompt is empty: there is no node to run.", location="prompt")
    for node_id, node in prompt.items():
        _check_node(node_id, node)
    graph: Graph = prompt
    return graph


def _check_node(node_id: str, node: Any) -> None:
    where = f"prompt.{node_id[:100]}"
    if not isinstance(node, dict):
        raise errors.InvalidRequest(
            f"{where} is not a node.",
            hint="A workflow is an object of nodes by id, each {class_type, inputs}; or what the "
            "canvas saves, with `nodes` and `links`.",
            location=where,
        )
    if not isinstance(node.get("class_type"), str):
        raise errors.InvalidGraph(
            f"{where}: the node has no class_type.",
            location=f"{where}.class_type",
            hint="Every node of the API format has one; export the workflow with Export (API).",
        )
    if not isinstance(node.get("inputs", {}), dict):
        raise errors.InvalidRequest(f"{where}.inputs is not an object.", location=f"{where}.inputs")


def media_refs(graph: Graph) -> Iterator[InputRef]:
    """Yield every media value that is written into the graph."""
    for node_id, node in graph.items():
        for name, value in node.get("inputs", {}).items():
            if name in MEDIA_INPUTS and isinstance(value, str):
                yield InputRef(node_id, name, value)


def directory_lists(graph: Graph) -> Iterator[tuple[str, list[str]]]:
    """Yield (node id, entries) of every list of files in `directory`; raises InvalidInput."""
    for node_id, node in graph.items():
        value = node.get("inputs", {}).get("directory")
        if isinstance(value, list) and not is_link(value):
            if not value or not all(isinstance(entry, str) for entry in value):
                raise errors.InvalidInput(
                    "directory is a list of URLs or base64 strings, or the name of a folder.",
                    location=directory_location(node_id),
                )
            yield node_id, value


def directory_location(node_id: str) -> str:
    """Return where the caller finds a node's `directory`."""
    return f"prompt.{node_id}.inputs.directory"


def urls(graph: Graph) -> Iterator[InputRef]:
    """Yield every URL that is written into the graph, whatever it names."""
    for node_id, node in graph.items():
        for name, value in node.get("inputs", {}).items():
            if is_url(value):
                yield InputRef(node_id, name, value)


def replaced_urls(graph: Graph, ran: Graph) -> dict[str, dict[str, Any]]:
    """Return the URLs, and the lists of files, that are files in the graph that ran."""
    found: dict[str, dict[str, Any]] = {}
    for node_id, node in graph.items():
        now = ran.get(node_id, {}).get("inputs", {})
        for name, value in node.get("inputs", {}).items():
            is_list = name == "directory" and isinstance(value, list) and not is_link(value)
            if (is_list or is_url(value)) and now.get(name) != value:
                found.setdefault(node_id, {})[name] = value
    return found


def with_inputs(graph: Graph, values: dict[tuple[str, str], Any]) -> Graph:
    """Return a copy in which the named inputs have other values."""
    edited = dict(graph)
    for (node_id, name), value in values.items():
        node = edited[node_id]
        edited[node_id] = {**node, "inputs": {**node.get("inputs", {}), name: value}}
    return edited


def check_prefixes(graph: Graph, job_id: str = "") -> None:
    """Raise InvalidInput for a filename_prefix that no file of the output folder can have."""
    for node_id, node in graph.items():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            problem = _prefix_problem(prefix) or _length_problem(f"{job_id}_{prefix}")
            if problem:
                raise errors.InvalidInput(
                    f"filename_prefix {prefix[:60]!r} {problem}.",
                    location=f"prompt.{node_id}.inputs.filename_prefix",
                    hint="Folders are allowed: a/b/name.",
                )


def _prefix_problem(prefix: str) -> str | None:
    if len(prefix) > PREFIX_LENGTH:
        return f"has {len(prefix)} characters; at most {PREFIX_LENGTH} are allowed"
    if _CONTROL.search(prefix):
        return "has control characters"
    if "\\" in prefix or prefix.startswith(("/", "~")) or re.match(r"[A-Za-z]:", prefix):
        return "is an absolute path or has a backslash"
    if ".." in prefix.split("/"):
        return "leaves the output folder"
    return None


def _length_problem(bound: str) -> str | None:
    longest = max(len(part.encode()) for part in bound.split("/")) + COUNTER_BYTES
    if longest > NAME_BYTES:
        return (
            f"makes a name of {longest} bytes with the job's id; at most {NAME_BYTES} are allowed"
        )
    return None


def with_prefixes(graph: Graph, job_id: str, *, prepend: bool) -> Graph:
    """Return a copy in which every filename_prefix is the job's own."""
    edits = {}
    for node_id, node in graph.items():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            edits[node_id, "filename_prefix"] = f"{job_id}_{prefix}" if prepend else job_id
    return with_inputs(graph, edits)


def prefixes(graph: Graph) -> list[str]:
    """Return every filename_prefix."""
    found = (node.get("inputs", {}).get("filename_prefix") for node in graph.values())
    return [prefix for prefix in found if isinstance(prefix, str)]


def made_unique(graph: Graph, job_id: str, output_classes: set[str]) -> Graph:
    """Return a copy whose output nodes without a prefix of their own run for this job alone."""
    edits = {
        (node_id, UNIQUE_INPUT): job_id
        for node_id, node in graph.items()
        if node["class_type"] in output_classes
        and not isinstance(node.get("inputs", {}).get("filename_prefix"), str)
    }
    return with_inputs(graph, edits)


def run_anew(graph: Graph, mark: str, output_classes: set[str]) -> Graph:
    """Return a copy whose output nodes all run again, whatever ComfyUI has cached of them."""
    edits = {
        (node_id, UNIQUE_INPUT): mark
        for node_id, node in graph.items()
        if node["class_type"] in output_classes
    }
    return with_inputs(graph, edits)


def without_marks(graph: Graph) -> Graph:
    """Return the graph as a caller wants to see it: as it was run, less our own marks."""
    return {
        node_id: {**node, "inputs": {k: v for k, v in inputs.items() if k != UNIQUE_INPUT}}
        if UNIQUE_INPUT in (inputs := node.get("inputs", {}))
        else node
        for node_id, node in graph.items()
    }


def unmarked(graph: Graph, job_id: str | None = None) -> Graph:
    """Return a graph that ran as it was before a job and ComfyUI wrote their marks into it."""
    plain = {
        node_id: {key: node[key] for key in _OF_A_NODE if key in node}
        for node_id, node in graph.items()
    }
    edits: dict[tuple[str, str], Any] = {}
    for node_id, node in plain.items():
        prefix = node.get("inputs", {}).get("filename_prefix")
        if isinstance(prefix, str):
            edits[node_id, "filename_prefix"] = _unprefixed(prefix, job_id)
    return without_marks(with_inputs(plain, edits))


def _unprefixed(prefix: str, job_id: str | None) -> str:
    if job_id is not None and prefix == job_id:
        return _PREFIX
    if job_id is not None and prefix.startswith(f"{job_id}_"):
        return prefix[len(job_id) + 1 :] or _PREFIX
    found = _UUID.match(prefix)
    return (prefix[found.end() :] if found else prefix) or _PREFIX


def reached_from(graph: Graph, node_id: str) -> Iterator[str]:
    """Yield the node and all that it needs, each once, by links that lead somewhere."""
    seen = {node_id}
    waiting = [node_id]
    while waiting:
        current = waiting.pop()
        yield current
        for value in graph[current].get("inputs", {}).values():
            if is_link(value) and value[0] in graph and value[0] not in seen:
                seen.add(value[0])
                waiting.append(value[0])


def needed(graph: Graph, ends: set[str]) -> Graph:
    """Return the part of the graph that nodes of these classes need, themselves included."""
    found: set[str] = set()
    for node_id, node in graph.items():
        if node["class_type"] in ends and node_id not in found:
            found.update(reached_from(graph, node_id))
    return {node_id: node for node_id, node in graph.items() if node_id in found}


def cycle_through(graph: Graph, start: str) -> list[str] | None:
    """Return the ids along a cycle that `start` needs, or None."""
    done: set[str] = set()
    path: list[str] = []
    on_path: set[str] = set()
    stack: list[tuple[str, Iterator[str]]] = [(start, _needs(graph, start))]
    path.append(start)
    on_path.add(start)
    while stack:
        current, needs = stack[-1]
        following = next(needs, None)
        if following is None:
            stack.pop()
            path.pop()
            on_path.discard(current)
            done.add(current)
        elif following in on_path:
            return [*path[path.index(following) :], following]
        elif following not in done:
            path.append(following)
            on_path.add(following)
            stack.append((following, _needs(graph, following)))
    return None


def _needs(graph: Graph, node_id: str) -> Iterator[str]:
    values = graph[node_id].get("inputs", {}).values()
    return iter([value[0] for value in values if is_link(value) and value[0] in graph])
