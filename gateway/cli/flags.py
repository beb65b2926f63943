"""What the flags of `gateway generate` ask for, whatever names the workflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import graph
from gateway.cli.picture import Frame
from gateway.workflows import seeds

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
#: FILE, FILE:STRENGTH, FILE:STRENGTH:STRENGTH_OF_CLIP; a URL has colons of its own.
_LORA = re.compile(
    rf"(?P<file>.+?)(?::(?P<strength>{_NUMBER})(?::(?P<clip>{_NUMBER}))?(?:@(?P<target>[^@:]+))?)?"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: What a sampler is told -> the option that says it.
OPTIONS = {
    "prompt": "--prompt",
    "negative_prompt": "--negative-prompt",
    "seed": "--seed",
    "steps": "--steps",
    "cfg": "--cfg",
    "sampler": "--sampler",
    "scheduler": "--scheduler",
    "denoise": "--denoise",
    "width": "--width",
    "height": "--height",
}


@dataclass(frozen=True)
class Flags:
    """What is wanted of a workflow."""

    #: By the words of `gateway.workflows.sampling.samplers`: prompt, steps, seed, ...
    settings: dict[str, Any] = field(default_factory=dict)
    #: `--set`, as written.
    values: Sequence[str] = ()
    #: `--input-image`, as written.
    images: Sequence[str] = ()
    frame: Frame | None = None
    #: Fields of the request: preset, loras, lora_preset, metadata.
    fields: dict[str, Any] = field(default_factory=dict)


def lora(text: str) -> dict[str, Any]:
    """Return an entry of `loras` of a request; raises ValueError."""
    found = _LORA.fullmatch(text)
    file = found["file"] if found else ""
    is_url = _URL.match(file) is not None
    if not found or (":" in file and not is_url):
        raise ValueError(f"{text!r} is not FILE, FILE:STRENGTH or FILE:STRENGTH:CLIP_STRENGTH.")
    wish: dict[str, Any] = {"url" if is_url else "name": file}
    if found["strength"]:
        wish["strength"] = float(found["strength"])
    if found["clip"]:
        wish["strength_clip"] = float(found["clip"])
    if found["target"]:
        wish["target"] = found["target"]
    return wish


def seed(text: str) -> int:
    """Return a seed: the number, or one by chance for `random` and -1; raises ValueError."""
    if text in ("random", "-1"):
        return seeds.drawn()
    if not re.fullmatch(r"\d{1,20}", text) or int(text) >= 2**64:
        raise ValueError(f"{text!r} is no seed: a number from 0 to 2^64-1, -1 or random.")
    return int(text)


def is_file(source: str) -> bool:
    """Whether `--workflow` means a file or a URL: people/portrait may also be a name."""
    if graph.is_url(source) or source.lower().endswith(".json") or is_media(Path(source)):
        return True
    if source.startswith(("/", "./", "../", "~")):
        return True
    return "/" in source and Path(source).is_file()


def is_media(path: Path) -> bool:
    """Whether a file is called as pictures, sounds and films are."""
    from gateway.workflows.files import sources

    return sources.is_media(path.name)


def file(source: str) -> Path:
    """Return the file that `--workflow` means."""
    return Path(source).expanduser()
