"""Which files of a repository in diffusers' layout an engine reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_INDEX = "model_index.json"
_PICKLED = (".bin", ".ckpt", ".pt", ".pth")
#: Other frameworks' weights, papers and pictures.
_NEVER = (
    *(".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".pb", ".tflite", ".xml"),
    *(".avif", ".gif", ".jpeg", ".jpg", ".md", ".mp4", ".pdf", ".png", ".svg", ".webp"),
)
_HALF = ".fp16"


@dataclass(frozen=True)
class RepoFile:
    """A file of a repository, and where it is fetched from."""

    path: str
    size: int
    sha256: str | None
    url: str


def needed(files: Iterable[RepoFile]) -> list[RepoFile]:
    """Return the files that diffusers' loaders read, each weight once."""
    found = [file for file in files if not _is_aside(PurePosixPath(file.path))]
    if any(file.path == _INDEX for file in found):
        # Whole checkpoints often lie beside the index, for other programs.
        found = [
            file for file in found if "/" in file.path or file.path.endswith((".json", ".txt"))
        ]
    names = {file.path for file in found}
    safe = {_folder(name) for name in names if name.endswith(".safetensors")}
    return [file for file in found if not _is_twice(file.path, names, safe)]


def _is_aside(path: PurePosixPath) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    return is_hidden or path.suffix.lower() in _NEVER or path.stem.upper() in ("README", "LICENSE")


def _is_twice(name: str, names: set[str], safe: set[str]) -> bool:
    path = PurePosixPath(name)
    if path.suffix in _PICKLED and _folder(name) in safe:
        return True
    # ComfyUI's DiffusersLoader takes the half-precision file where there is one.
    is_weight = path.suffix in (".safetensors", *_PICKLED)
    stem = path.stem.removesuffix(".non_ema")
    half = str(path.with_name(f"{stem}{_HALF}{path.suffix}"))
    return is_weight and half != name and half in names


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
