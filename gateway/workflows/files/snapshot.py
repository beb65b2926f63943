"""What the folder amounts to at one moment, made of what it was before; it blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.workflows.files import folder, shared_file, sources
from gateway.workflows.files.assembly import Candidate, Folder, assemble
from gateway.workflows.files.conversion import Conversion
from gateway.workflows.files.folder import Listing, Stamp
from gateway.workflows.files.mistakes import Mistake
from gateway.workflows.files.shared_file import SharedFiles
from gateway.workflows.files.sources import Source

_ABSENT = Mistake(".", 1, 1, "this folder is not there; what was in it stays in service")


@dataclass(frozen=True)
class Snapshot:
    """The folder as it was when it was looked at."""

    listing: Listing = field(default_factory=Listing)
    shared: SharedFiles = field(default_factory=SharedFiles)
    candidates: Mapping[str, Candidate] = field(default_factory=dict)

    def mistakes_of(self, candidate: Candidate) -> tuple[Mistake, ...]:
        """Return what is wrong with all files of a candidate, those that it shares included."""
        shared = [self.shared.files[name] for name in (sources.WORKFLOWS, sources.BASE)]
        found = [
            wrong for file in shared if file.file in candidate.files for wrong in file.mistakes
        ]
        return tuple(dict.fromkeys([*candidate.mistakes, *found]))

    @property
    def canvases(self) -> set[str]:
        """The files in the format of the canvas."""
        return {one.canvas for one in self.candidates.values() if one.canvas is not None}

    @property
    def common_mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong with files that are of no one workflow."""
        return (*self.listing.mistakes, *self.shared.all_mistakes)


def look(
    root: Path, before: Snapshot, conversion: Conversion, touched: Collection[str] = ()
) -> Snapshot | None:
    """Return the folder as it is now, None when nothing changed.

    `touched`: files that are read again although they look as before.
    """
    listing = _listed(root, before.listing)
    changed = _changed(before.listing.files, listing.files)
    changed.update(file for file in touched if file in listing.files)
    changed -= _unused_media(changed, before)
    if not changed and listing.mistakes == before.listing.mistakes:
        return None
    shared = before.shared
    if changed & _shared_names():
        shared = shared_file.read(
            listing.files, before.shared, lambda file: folder.read_text(root, file)
        )
    there = Folder(
        listing.files,
        shared.shared,
        lambda file: folder.read(root, file),
        lambda file: folder.read_text(root, file),
        conversion,
        shared.files[sources.BASE].file,
        shared.files[sources.PRESETS].file,
    )
    found = sources.discover(listing.files, shared.files[sources.WORKFLOWS].said)
    candidates = {
        name: _reused(before.candidates.get(name), source, changed, shared)
        or assemble(source, there)
        for name, source in found.items()
    }
    return Snapshot(listing, shared, candidates)


def _listed(root: Path, before: Listing) -> Listing:
    """Return what lies in the folder; a part that cannot be read now is as it was."""
    listing = folder.scan(root)
    if listing.is_absent and before.files:
        # A disk that dropped out, more likely than an operator who wants no workflow any more.
        return replace(before, mistakes=(_ABSENT,))
    if not listing.unread:
        return listing
    kept = {
        file: stamp
        for file, stamp in before.files.items()
        if any(not path or file.startswith(f"{path}/") for path in listing.unread)
    }
    return replace(listing, files={**kept, **listing.files})


def _changed(before: Mapping[str, Stamp], now: Mapping[str, Stamp]) -> set[str]:
    return {file for file in before.keys() | now.keys() if before.get(file) != now.get(file)}


def _unused_media(changed: set[str], before: Snapshot) -> set[str]:
    """Return the pictures, sounds and videos that belong to no workflow; a manifest that is the
    first to name one is itself a file that changed."""
    media = {file for file in changed if sources.is_media(file)}
    if media:
        for candidate in before.candidates.values():
            media -= candidate.files
    return media


def _shared_names() -> set[str]:
    return {f"{name}{suffix}" for name in sources.SHARED for suffix in (".yaml", ".yml")}


def _reused(
    before: Candidate | None, source: Source, changed: set[str], shared: SharedFiles
) -> Candidate | None:
    """Return a candidate as it was when nothing changed that it is made of."""
    if before is None or before.source != source:
        return None
    touching = before.files & changed
    if not touching:
        return before
    old, new = before.source.section, source.section
    if touching != {shared.files[sources.WORKFLOWS].file} or before.mistakes:
        return None
    if old is None or new is None:
        return None
    # Another workflow of workflows.yaml was edited: this one may stand on another line now.
    if old.value != new.value:
        return None
    route = new.at("route") if before.route is not None else None
    return replace(before, source=source, route=route)
