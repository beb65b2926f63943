"""Where things lie on disk: the folders of models, input, output and temp, and their names."""

from __future__ import annotations

import mimetypes
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gateway.embedded.options import Options

WEIGHTS = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})
ANY_FILE: frozenset[str] = frozenset()

# Kind -> the folders below `models` that hold it; the order is the one of GET /models.
MODEL_FOLDERS: dict[str, tuple[str, ...]] = {
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
    "custom_nodes": (),
    "hypernetworks": ("hypernetworks",),
    "photomaker": ("photomaker",),
    "classifiers": ("classifiers",),
    "model_patches": ("model_patches",),
    "audio_encoders": ("audio_encoders",),
}
EXTENSIONS: dict[str, frozenset[str]] = {
    "configs": frozenset({".yaml"}),
    "diffusers": frozenset({"folder"}),
    "custom_nodes": ANY_FILE,
    "classifiers": frozenset({""}),
}
OLD_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}
SAVED_BY_NODES = ("checkpoints", "clip", "vae", "diffusion_models", "loras")


class Folders:
    """Every folder the engine reads or writes."""

    def __init__(self, options: Options) -> None:
        base = (options.base_directory or Path.cwd()).absolute()
        self.input = _absolute(options.input_directory or base / "input")
        self.output = _absolute(options.output_directory or base / "output")
        self.temp = _temp_folder(options)
        self.models: dict[str, list[str]] = {}
        models = _absolute(options.models_directory or base / "models")
        for kind, names in MODEL_FOLDERS.items():
            self.models[kind] = [str(models / name) for name in names]
        self.models["custom_nodes"] = [str(base / "custom_nodes")]
        for path in options.extra_model_paths:
            self._read_extra_paths(path)
        for kind in SAVED_BY_NODES:
            self.add(kind, str(self.output / kind))

    def prepare(self) -> None:
        """Clear what an earlier run left in temp, and make the folders that must exist."""
        self.clear_temp()
        for folder in (self.input, self.output, self.temp):
            folder.mkdir(parents=True, exist_ok=True)

    def clear_temp(self) -> None:
        shutil.rmtree(self.temp, ignore_errors=True)

    def by_type(self, name: str | None) -> Path | None:
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(name or "")

    # -- models

    def add(self, kind: str, folder: str, is_default: bool = False) -> None:
        folders = self.models.setdefault(OLD_NAMES.get(kind, kind), [])
        if folder in folders:
            if not is_default:
                return
            folders.remove(folder)
        folders.insert(0 if is_default else len(folders), folder)

    def model_names(self, kind: str) -> list[str]:
        """The names that a loader offers: paths below any folder of this kind, sorted."""
        kind = OLD_NAMES.get(kind, kind)
        wanted = EXTENSIONS.get(kind, WEIGHTS if kind in MODEL_FOLDERS else ANY_FILE)
        names = {name for folder in self.models[kind] for name in _walk(folder)}
        return sorted(name for name in names if not wanted or _extension(name) in wanted)

    def model_path(self, kind: str, name: str) -> str | None:
        # Rooted and made relative again, so that no `..` leads out of the folder.
        inside = os.path.relpath(os.path.join("/", name), "/")
        for folder in self.models.get(OLD_NAMES.get(kind, kind), []):
            path = os.path.join(folder, inside)
            if os.path.isfile(path):
                return path
        return None

    def _read_extra_paths(self, config: Path) -> None:
        import yaml

        sections: dict[str, Any] = yaml.safe_load(config.read_text("utf-8")) or {}
        for section in sections.values():
            if section is None:
                continue
            base = os.path.expandvars(os.path.expanduser(section.pop("base_path", "") or ""))
            root = config.absolute().parent / base
            is_default = bool(section.pop("is_default", False))
            for kind, lines in section.items():
                for line in filter(None, lines.split("\n")):
                    self.add(kind, os.path.normpath(root / line), is_default)

    # -- pictures

    def input_names(self, images_only: bool) -> list[str]:
        names = [entry.name for entry in os.scandir(self.input) if entry.is_file()]
        return sorted(name for name in names if not images_only or _is_image(name))

    def annotated(self, name: str) -> tuple[str, Path | None]:
        """Split `picture.png [output]` into the name and the folder it names."""
        for kind in ("output", "input", "temp"):
            if name.endswith(f"[{kind}]"):
                return name[: -len(kind) - 3], self.by_type(kind)
        return name, None

    def picture(self, name: str) -> str:
        bare, folder = self.annotated(name)
        return os.path.join(folder or self.input, bare)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _temp_folder(options: Options) -> Path:
    """Cleared at every start, so never a `temp` that merely lies in the working directory."""
    if options.temp_directory or options.base_directory:
        return _absolute((options.temp_directory or options.base_directory or Path()) / "temp")
    return Path(tempfile.gettempdir()) / f"comfy-embedded-{options.port or os.getpid()}" / "temp"


def _walk(folder: str) -> list[str]:
    found = []
    for parent, _, names in os.walk(folder, followlinks=True):
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in names]
    return found


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_image(name: str) -> bool:
    kind = mimetypes.guess_type(name, strict=False)[0] or ""
    return kind.startswith("image/") or name.endswith(".webp")
