"""One name of the folder, read anew; it blocks."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import orjson

from gateway.workflows.files import graph_file, manifest
from gateway.workflows.files.conversion import Conversion
from gateway.workflows.files.graph_file import Parsed
from gateway.workflows.files.manifest import Manifest, Shared
from gateway.workflows.files.mistakes import Mistake, Spot, near, shown, spot
from gateway.workflows.files.sources import MEDIA, Source, is_media
from gateway.workflows.workflow import Workflow

#: Returns the bytes of a file of the folder, or what kept them from being read.
Read = Callable[[str], tuple[bytes, list[Mistake]]]
ReadText = Callable[[str], tuple[str, list[Mistake]]]


@dataclass(frozen=True)
class Candidate:
    """What the files of a name amount to."""

    source: Source
    workflow: Workflow | None
    mistakes: tuple[Mistake, ...] = ()
    #: The files that decide about it, those that are missing too.
    files: frozenset[str] = frozenset()
    #: Where its manifest names a route.
    route: Spot | None = None
    #: The text of a workflow in Python, which is looked into elsewhere.
    script: str | None = None
    #: Its file in the format of the canvas: what ComfyUI's nodes are decides about it, too.
    canvas: str | None = None
    #: Whether it is converted as soon as it is known what they are.
    waits: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether it was not looked into yet."""
        return self.script is not None and self.workflow is None and not self.mistakes


@dataclass(frozen=True)
class Folder:
    """What a manifest may refer to."""

    files: Collection[str]
    shared: Shared
    read: Read
    read_text: ReadText
    conversion: Conversion = field(default_factory=Conversion)
    #: The files of base.yaml and presets.yaml, of which there may be none yet.
    base: str = "base.yaml"
    presets: str = "presets.yaml"


def assemble(source: Source, folder: Folder) -> Candidate:
    """Return what the files of a name amount to now."""
    if not source.has_a_good_name:
        said = "a workflow is named by letters, digits, blanks and . _ - ( ) + , = @"
        return _broken(source, [Mistake(source.files[0], 1, 1, said)])
    if len(source.files) > 1:
        return _broken(source, list(_rivals(source)))
    if source.script is not None and source.manifest is None:
        return _python(source, folder)
    if source.manifest is None:
        return _alone(source, folder)
    return _described(source, folder)


def _rivals(source: Source) -> list[Mistake]:
    found = []
    for file in source.files:
        others = ", ".join(other for other in source.files if other != file)
        said = f"the workflow {source.name} is defined twice: {others} defines it, too"
        if source.section is not None and source.section.file == file:
            found.append(source.section.mistake_of_key(said))
        else:
            found.append(Mistake(file, 1, 1, said))
    return found


def _broken(source: Source, mistakes: list[Mistake], files: Collection[str] = ()) -> Candidate:
    return Candidate(source, None, tuple(mistakes), frozenset({*source.files, *files}))


def _python(source: Source, folder: Folder) -> Candidate:
    text, wrong = folder.read_text(source.files[0])
    script = None if wrong else text
    files = frozenset({*source.files, folder.presets})
    return Candidate(source, None, tuple(wrong), files, script=script)


def _alone(source: Source, folder: Folder) -> Candidate:
    file = source.files[0]
    parsed, read = _parsed(file, folder)
    made = None
    if parsed.found is not None:
        made = manifest.alone(source.name, parsed.found, version_of(*read))
    return Candidate(
        source,
        made,
        tuple(parsed.mistakes),
        frozenset(source.files),
        canvas=file if parsed.is_canvas else None,
        waits=made is None and not parsed.mistakes,
    )


def _parsed(file: str, folder: Folder) -> tuple[Parsed, list[bytes]]:
    """Return what a file amounts to, and what tells this version of it from the next."""
    raw, wrong = folder.read(file)
    if wrong:
        return Parsed(None, wrong), []
    parsed = graph_file.parse(file, raw, folder.conversion)
    if parsed.found is None or not parsed.is_canvas:
        return parsed, [raw]
    return parsed, [raw, json.dumps(parsed.found.graph).encode()]


@dataclass
class _Work:
    """A workflow with a manifest, while it is made."""

    source: Source
    folder: Folder
    wrong: list[Mistake] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    #: The file of its graph, where that is in the format of the canvas.
    canvas: str | None = None


def _described(source: Source, folder: Folder) -> Candidate:
    work = _Work(source, folder, files=set(source.files))
    said = _manifest(work)
    if said is None:
        return _broken(source, work.wrong, work.files)
    parsed, read = _graph(work, said)
    if said.uses_base:
        work.files.add(folder.base)
    if "preset" in said.said:
        work.files.add(folder.presets)
    made = None
    if parsed.found is not None:
        version = version_of(*read, _canonical(said))
        made = manifest.workflow(source.name, said, parsed.found, version, work.wrong)
    is_known = not (said.uses_base and folder.shared.is_base_broken)
    return Candidate(
        source,
        made if is_known and not work.wrong else None,
        tuple(sorted(set(work.wrong))),
        frozenset(work.files),
        route=said.said.get("route"),
        canvas=work.canvas,
        waits=parsed.found is None and not work.wrong,
    )


def _manifest(work: _Work) -> Manifest | None:
    section = work.source.section
    if section is None:
        file = work.source.files[0]
        text, wrong = work.folder.read_text(file)
        if not wrong:
            section, wrong = spot(file, text)
        work.wrong.extend(wrong)
        if section is None or wrong:
            return None
    return manifest.read(section, work.folder.shared, work.wrong)


def _graph(work: _Work, said: Manifest) -> tuple[Parsed, list[bytes]]:
    """Return the graph of a manifest: the file that it names, else the one beside it."""
    file, problem = _graph_file(work.source, said, work.folder.files)
    if file is not None:
        work.files.add(file)
    if file is None or problem is not None:
        work.wrong.append((said.said.get("workflow_file") or said.spot).mistake(problem or ""))
        return Parsed(None, []), []
    parsed, read = _parsed(file, work.folder)
    work.wrong.extend(parsed.mistakes)
    work.canvas = file if parsed.is_canvas else None
    return parsed, read


def _graph_file(
    source: Source, said: Manifest, files: Collection[str]
) -> tuple[str | None, str | None]:
    """Return the file of the graph, and why it cannot be that."""
    named = said.text("workflow_file")
    if named is None:
        beside = f"{source.name}.json"
        if source.graph or beside in files:
            return source.graph or beside, None
        problem = f"there is no {beside}; put it beside the manifest, or say workflow_file"
        media = [file for file in files if file.startswith(f"{source.name}.") and is_media(file)]
        return beside, f"{problem}: {posixpath.basename(media[0])}" if media else problem
    file = posixpath.normpath(posixpath.join(source.folder, named))
    if named.startswith("/") or "\\" in named or ".." in named.split("/"):
        return None, "workflow_file must stay inside the folder: no .., no absolute path"
    if not (file.endswith(".json") or is_media(file)):
        return None, f"workflow_file must be a .json file, or one of {' '.join(MEDIA)}"
    if file not in files:
        known = [other for other in files if other.endswith(".json") or is_media(other)]
        return file, f"there is no file {shown(file)} in the folder; {near(file, known)}"
    return file, None


def version_of(*parts: bytes) -> str:
    """Return what tells one version of a workflow's files from the next."""
    digest = hashlib.blake2b(digest_size=6)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _canonical(said: Manifest) -> bytes:
    """Return all that a manifest says, base.yaml's part in it included."""
    definitions = [
        (defined.name, {key: spot.value for key, spot in defined.said.items()})
        for defined in said.definitions
    ]
    others = {key: spot.value for key, spot in said.said.items() if key not in _DEFINING}
    return orjson.dumps([others, definitions], default=str, option=orjson.OPT_SORT_KEYS)


_DEFINING = ("parameters", "overrides", "workflow_file")
