"""The files that all workflows of the folder share, as they last could be read; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.workflows.files import own_presets, sources
from gateway.workflows.files.fields import mapping
from gateway.workflows.files.manifest import Shared
from gateway.workflows.files.mistakes import Mistake, Spot, spot
from gateway.workflows.files.parameters import definition
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling.presets import BUILT_IN, Preset


@dataclass(frozen=True)
class SharedFile:
    """One of them; while it is broken, what it said last still holds."""

    file: str
    said: Spot | None = None
    #: What keeps it from being read at all.
    mistakes: tuple[Mistake, ...] = ()

    @property
    def is_unknown(self) -> bool:
        """Whether there is one, of which nothing is known."""
        return self.said is None and bool(self.mistakes)


@dataclass(frozen=True)
class SharedFiles:
    """All of them, and what they amount to."""

    #: By their names, less the ending.
    files: Mapping[str, SharedFile] = field(
        default_factory=lambda: {name: SharedFile(f"{name}.yaml") for name in sources.SHARED}
    )
    presets: Mapping[str, Preset] = field(default_factory=lambda: BUILT_IN)
    lora_presets: Mapping[str, tuple[Lora, ...]] = field(default_factory=dict)
    #: What is wrong with single entries.
    mistakes: tuple[Mistake, ...] = ()

    @property
    def shared(self) -> Shared:
        """What manifests may refer to."""
        base = self.files[sources.BASE]
        return Shared(base.said, base.is_unknown, self.presets)

    @property
    def all_mistakes(self) -> tuple[Mistake, ...]:
        """All that is wrong with these files."""
        found = [wrong for file in self.files.values() for wrong in file.mistakes]
        return (*found, *self.mistakes)


def read(
    files: Collection[str],
    before: SharedFiles,
    read_text: Callable[[str], tuple[str, list[Mistake]]],
) -> SharedFiles:
    """Return what the shared files say now."""
    kept = {
        name: _read_one(name, sources.shared_files(files, name), before.files[name], read_text)
        for name in sources.SHARED
    }
    return _amounting(SharedFiles(kept), before)


def _read_one(
    name: str,
    files: list[str],
    before: SharedFile,
    read_text: Callable[[str], tuple[str, list[Mistake]]],
) -> SharedFile:
    if not files:
        return SharedFile(f"{name}.yaml")
    file = files[0]
    text, wrong = read_text(file)
    said = None
    if not wrong:
        said, wrong = spot(file, text)
        if not wrong and said.value is not None and (problem := mapping(said.value)):
            wrong = [said.mistake(problem)]
    wrong += [Mistake(other, 1, 1, f"{file} is there, too; keep one") for other in files[1:]]
    return SharedFile(file, before.said if wrong else said, tuple(wrong))


def _amounting(found: SharedFiles, before: SharedFiles) -> SharedFiles:
    wrong: list[Mistake] = []
    presets, lora_presets = before.presets, before.lora_presets
    if not found.files[sources.PRESETS].mistakes:
        said = found.files[sources.PRESETS].said
        good = own_presets.presets(said, wrong) if said else {}
        presets = BUILT_IN | _still(said, before.presets) | good
    if not found.files[sources.LORA_PRESETS].mistakes:
        said = found.files[sources.LORA_PRESETS].said
        good_loras = own_presets.lora_presets(said, wrong) if said else {}
        lora_presets = _still(said, before.lora_presets) | good_loras
    for name, one in _each(found.files[sources.BASE].said):
        definition(name, one, wrong)
    told = tuple(sorted(set(wrong)))
    return replace(found, presets=presets, lora_presets=lora_presets, mistakes=told)


_Kept = TypeVar("_Kept")


def _still(said: Spot | None, before: Mapping[str, _Kept]) -> dict[str, _Kept]:
    """Return what a file's entries were before: an entry that breaks stays as it was."""
    return {name: before[name] for name, _ in _each(said) if name in before}


def _each(said: Spot | None) -> list[tuple[str, Spot]]:
    return [(name, said.at(name)) for name in said.value] if said and said.value else []
