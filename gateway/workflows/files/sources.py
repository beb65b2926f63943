"""Which files make which workflow; pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.workflows.files.mistakes import Spot

#: In the folder itself, these are no workflows of their own; `.yml` is as good.
WORKFLOWS, BASE, PRESETS, LORA_PRESETS = "workflows", "base", "presets", "lora_presets"
SHARED = (WORKFLOWS, BASE, PRESETS, LORA_PRESETS)
_YAML = (".yaml", ".yml")
#: What ComfyUI saves its workflows in; no workflow of its own, unless a manifest names it.
MEDIA = (
    *(".png", ".apng", ".webp", ".jpg", ".jpeg", ".avif", ".svg", ".glb"),
    *(".flac", ".mp3", ".m4a", ".opus", ".ogg", ".mp4", ".mov", ".webm", ".mkv"),
)
_NAME = re.compile(r"(?:[^\W_][\w .()+,@=-]{0,99}/)*[^\W_][\w .()+,@=-]{0,99}")


@dataclass(frozen=True)
class Source:
    """A name, and the files that it comes from."""

    name: str
    #: All files that claim the name: a manifest, a graph alone, Python, or workflows.yaml.
    files: tuple[str, ...]
    #: What its manifest is called; None: there is a graph alone, or Python.
    manifest: str | None = None
    #: The graph that lies beside.
    graph: str | None = None
    script: str | None = None
    #: What workflows.yaml says of it.
    section: Spot | None = field(default=None, compare=False)

    @property
    def has_a_good_name(self) -> bool:
        """Whether it can stand in an address."""
        return _NAME.fullmatch(self.name) is not None

    @property
    def folder(self) -> str:
        """The folder of its manifest, which what it names is relative to."""
        return posixpath.dirname(self.manifest or "")


def is_media(file: str) -> bool:
    """Whether a file is a picture, a sound or a video, by its name."""
    return file.lower().endswith(MEDIA)


def shared_files(files: Iterable[str], name: str) -> list[str]:
    """Return the files that are this one of the shared ones: `base.yaml`, `base.yml`."""
    there = set(files)
    return [f"{name}{suffix}" for suffix in _YAML if f"{name}{suffix}" in there]


def discover(files: Iterable[str], sections: Spot | None) -> dict[str, Source]:
    """Return every name with its files."""
    by_name: dict[str, list[str]] = {}
    for file in sorted(files):
        stem, suffix = posixpath.splitext(file)
        if is_media(file) or (suffix in _YAML and stem in SHARED):
            continue
        by_name.setdefault(stem, []).append(file)
    found = {name: _of_files(name, its) for name, its in by_name.items()}
    if sections is not None and isinstance(sections.value, dict):
        _add_sections(found, sections)
    return found


def _of_files(name: str, files: list[str]) -> Source:
    manifests = [file for file in files if file.endswith(_YAML)]
    graphs = [file for file in files if file.endswith(".json")]
    scripts = [file for file in files if file.endswith(".py")]
    claims = manifests + scripts or graphs
    return Source(
        name,
        tuple(claims),
        manifest=manifests[0] if manifests else None,
        graph=graphs[0] if graphs else None,
        script=scripts[0] if scripts else None,
    )


def _add_sections(found: dict[str, Source], sections: Spot) -> None:
    used = set()
    for name in sections.value:
        section = sections.at(name)
        wanted = section.value.get("workflow_file") if isinstance(section.value, dict) else None
        used.add(str(wanted))
        beside = found.get(name)
        if beside is None or (beside.manifest is None and beside.script is None):
            graph = beside.graph if beside else None
            # The graph beside it is its own, or another workflow's: one name, two graphs.
            others = () if wanted in (None, graph) else beside.files if beside else ()
            claims = (sections.file, *others)
        else:
            graph, claims = beside.graph, (sections.file, *beside.files)
        found[name] = Source(name, claims, sections.file, graph, section=section)
    for name, source in list(found.items()):
        if source.manifest is None and source.script is None and source.graph in used:
            del found[name]
