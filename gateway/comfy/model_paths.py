"""Makes the folders, and tells ComfyUI of the model folders that are not its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway import errors
from gateway.config import Settings

#: Each kind of model ComfyUI knows -> the folders below `models` it looks in, in order. The last
#: six are of later releases; ComfyUI 0.3.64 lists them like any other, and reads nothing there.
MODEL_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("checkpoints",),
    "configs": ("configs",),
    "loras": ("loras",),
    "vae": ("vae",),
    "text_encoders": ("text_encoders", "clip"),
    "diffusion_models": ("unet", "diffusion_models"),
    "clip_vision": ("clip_vision",),
    "style_models": ("style_models",),
    "embeddings": ("embeddings",),
    "diffusers": ("diffusers",),
    "vae_approx": ("vae_approx",),
    "controlnet": ("controlnet", "t2i_adapter"),
    "gligen": ("gligen",),
    "upscale_models": ("upscale_models",),
    "hypernetworks": ("hypernetworks",),
    "photomaker": ("photomaker",),
    "classifiers": ("classifiers",),
    "model_patches": ("model_patches",),
    "audio_encoders": ("audio_encoders",),
    "latent_upscale_models": ("latent_upscale_models",),
    "background_removal": ("background_removal",),
    "frame_interpolation": ("frame_interpolation",),
    "geometry_estimation": ("geometry_estimation",),
    "optical_flow": ("optical_flow",),
    "detection": ("detection",),
}


def prepare(settings: Settings) -> None:
    """Make every folder, and write the extra model paths file; SettingsInvalid where it fails."""
    _make_folders(settings)
    write(settings.extra_model_paths, extra_paths(settings))


def links(settings: Settings) -> Path:
    """Return the folder whose links ComfyUI looks at first."""
    return settings.cache / "links"


def searched(settings: Settings) -> dict[str, tuple[Path, ...]]:
    """Return where else ComfyUI looks for each kind of model, in order."""
    home = settings.comfy_home
    roots = [settings.models]
    if home is not None and not _same(settings.models, home / "models"):
        roots.append(home / "models")
    return {
        kind: tuple(root / name for root in roots for name in names)
        for kind, names in MODEL_FOLDERS.items()
    }


def extra_paths(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what the file says.

    ComfyUI puts each default folder in front of those it has, so what comes last wins; and it
    expands variables in `base_path`, so paths are written whole.
    """
    home, found = settings.comfy_home, {}
    if home is None or not _same(settings.models, home / "models"):
        found["comfy_gateway_models"] = _section(settings.models, MODEL_FOLDERS)
    if home is None or not _same(settings.custom_nodes, home / "custom_nodes"):
        nodes = {"is_default": True, "custom_nodes": str(settings.custom_nodes)}
        found["comfy_gateway_custom_nodes"] = nodes
    one_each = {kind: (kind,) for kind in MODEL_FOLDERS}
    found["comfy_gateway_links"] = _section(links(settings), one_each)
    return found


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file beside its place and move it there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _section(root: Path, folders: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    paths = {
        # Each is put in front of the one before it.
        kind: "\n".join(str(root / name) for name in reversed(names))
        for kind, names in folders.items()
    }
    return {"is_default": True, **paths}


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _make_folders(settings: Settings) -> None:
    needed = {
        "INPUT_DIR": [settings.inputs],
        "OUTPUT_DIR": [settings.outputs],
        "TEMP_DIR": [settings.temp],
        "CACHE_DIR": [links(settings) / kind for kind in MODEL_FOLDERS],
        "STATE_DIR": [settings.state],
        "MODEL_DIR": [settings.models],
        "CUSTOM_NODES_DIR": [settings.custom_nodes],
    }
    problems = []
    for name, folders in needed.items():
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            problems.append(f"{name}={folder}: cannot be made: {failure.strerror}")
    if problems:
        raise errors.SettingsInvalid("\n".join(problems))
    # A shared models folder may well be read-only here; then others have filled it.
    for kind in MODEL_FOLDERS:
        with contextlib.suppress(OSError):
            (settings.models / kind).mkdir(exist_ok=True)
