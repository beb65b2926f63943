"""Which inputs of a graph name weights by URL, and the folder of models each belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cachetools import TTLCache

from gateway import errors, graph
from gateway.jobs.job import ModelInput

#: class -> input -> folder, as MODEL_INPUTS and the manifest name them.
ModelInputs = Mapping[str, Mapping[str, str]]
#: folder -> names of its files, as ComfyUI lists them.
Listing = Mapping[str, tuple[str, ...]]
#: class -> input -> what it lets one choose from.
Combos = Mapping[str, Mapping[str, tuple[str, ...]]]

#: Names that inputs of any loader may have: they say nothing of a folder.
_ANYTHING = ("model_name", "model_path", "name")
#: The folders that the table gives to inputs of a name: clip_name -> text_encoders, clip_vision.
_BY_NAME: dict[str, list[str]] = {}
for _inputs in graph.MODEL_INPUTS.values():
    for _name, _folder in _inputs.items():
        if _name not in _ANYTHING:
            _BY_NAME.setdefault(_name.rstrip("0123456789"), []).append(_folder)

#: What loaders put into a list beside the files, as None and Baked VAE; files have an extension.
_FILE = re.compile(r"\.\w{1,12}$")
_NOTHING = frozenset({"", "none", "null", "off", "auto", "automatic", "default", "bakedvae"})

_REMEMBERED = 4096
_REMEMBERED_S = 600.0
_SHOWN = 5


@dataclass(frozen=True)
class ModelRef:
    """An input that names weights by URL."""

    node_id: str
    name: str
    url: str
    #: The folder of models that ComfyUI looks in.
    folder: str

    @property
    def location(self) -> str:
        """Where the caller finds it, as answers name it."""
        return graph.InputRef(self.node_id, self.name, self.url).location

    def as_input(self) -> ModelInput:
        """Return it as a job keeps it."""
        return ModelInput(node_id=self.node_id, name=self.name, url=self.url, folder=self.folder)


@dataclass(frozen=True)
class Facts:
    """What ComfyUI told: of its folders, of some classes, and what was found out before."""

    folders: Listing = field(default_factory=dict)
    combos: Combos = field(default_factory=dict)
    #: (class, input) -> its folder; None: no weights belong there.
    settled: Mapping[tuple[str, str], str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the weights of an input belong."""

    #: None: it lists something, and nothing says what.
    folder: str | None
    #: Whether files tell it, and not a likeness of names.
    is_sure: bool = True
    #: The folders that it may be.
    candidates: tuple[str, ...] = ()


def place(class_type: str, name: str, facts: Facts, given: ModelInputs) -> Place | None:
    """Return where the weights of an input belong; None when it is not one that names weights."""
    folder = graph.MODEL_INPUTS.get(class_type, {}).get(name)
    if folder is not None:
        return Place(folder)
    if (class_type, name) in facts.settled:
        known = facts.settled[class_type, name]
        return None if known is None else Place(known)
    named = given.get(class_type, {}).get(name)
    combo = facts.combos.get(class_type, {}).get(name)
    if combo is None or (name in graph.MEDIA_INPUTS and named is None):
        return None if named is None else Place(named)
    candidates = _candidates(combo, facts.folders)
    if len(candidates) == 1 and facts.folders[candidates[0]]:
        return Place(candidates[0])
    if named is not None:
        return Place(named)
    return Place(_likeliest(name, combo, candidates, facts.folders), False, candidates)


def _candidates(combo: tuple[str, ...], folders: Listing) -> tuple[str, ...]:
    """Return the folders whose files are the list's, but for entries that name no file."""
    values = set(combo)
    files = {value for value in values if _FILE.search(value)}
    is_empty = all(re.sub(r"[\W_]", "", value.lower()) in _NOTHING for value in values)
    return tuple(
        folder
        for folder, names in folders.items()
        if (files <= set(names) <= values if names else is_empty)
    )


def _likeliest(
    name: str, combo: tuple[str, ...], candidates: tuple[str, ...], folders: Listing
) -> str | None:
    bare = re.sub(r"_?\d+$", "", name)
    stem = bare.removesuffix("_name")
    wished: list[str] = [*_BY_NAME.get(bare, ()), stem, f"{stem}s"]
    # Some loaders list the files of two folders, as those of GGUF files do.
    among = candidates or tuple(
        folder for folder in wished if folders.get(folder) and set(folders[folder]) <= set(combo)
    )
    likely = [folder for folder in wished if folder in among]
    if likely:
        return likely[0]
    return among[0] if len(among) == 1 else None


def model_refs(workflow: graph.Graph, facts: Facts, given: ModelInputs) -> list[ModelRef]:
    """Return every input that names weights by URL; raises UnknownModelFolder."""
    found = []
    for ref in graph.urls(workflow):
        class_type = workflow[ref.node_id]["class_type"]
        where = place(class_type, ref.name, facts, given)
        if where is None:
            continue
        if where.folder is None:
            raise _unknown(class_type, ref, where, facts)
        found.append(ModelRef(ref.node_id, ref.name, ref.value, where.folder))
    return found


def _unknown(
    class_type: str, ref: graph.InputRef, where: Place, facts: Facts
) -> errors.UnknownModelFolder:
    combo = facts.combos.get(class_type, {}).get(ref.name, ())
    some = ", ".join(value[:60] for value in combo[:_SHOWN])
    listed = f"{some}, ..." if len(combo) > _SHOWN else some or "nothing"
    several = ", ".join(where.candidates[:_SHOWN])
    fits = f"several folders of /models ({several})" if several else "no folder of /models"
    source = f"{class_type[:100]}.{ref.name[:100]}"
    return errors.UnknownModelFolder(
        f"Node {ref.node_id[:100]} ({class_type[:100]}): which folder of models the URL in "
        f"{ref.name[:100]} belongs to is not known: the table of ComfyUI's own loaders does not "
        f"have the class; its list in object_info ({listed}) fits {fits}; "
        "and MODEL_INPUTS does not name it.",
        hint=f"Set MODEL_INPUTS={source}=<folder>, or model_inputs in the manifest; or put the "
        "file into MODEL_DIR and give its name.",
        location=ref.location,
        folders=sorted(where.candidates or facts.folders),
    )


class Asked(Protocol):
    """A running ComfyUI, as far as models go."""

    async def last_listing(self) -> Listing:
        """Return the names in every folder; raises NotReady."""
        ...

    async def combos(self, classes: Collection[str]) -> Combos:
        """Return what each class lets one choose from; raises NotReady."""
        ...


class Resolver:
    """Finds the weights of graphs, and asks ComfyUI only about what nobody knows yet."""

    def __init__(self, comfy: Asked, given: ModelInputs) -> None:
        """`given` is what MODEL_INPUTS and the manifest say."""
        self._comfy = comfy
        self._given = given
        self._settled: TTLCache[tuple[str, str], str | None] = TTLCache(_REMEMBERED, _REMEMBERED_S)

    async def resolve(self, workflow: graph.Graph) -> list[ModelRef]:
        """Return every input that names weights by URL; raises UnknownModelFolder, NotReady."""
        try:
            return model_refs(workflow, await self._facts(workflow), self._given)
        except errors.UnknownModelFolder:
            # A link that was made between the two questions sets a folder and a list apart.
            return model_refs(workflow, await self._facts(workflow), self._given)

    async def _facts(self, workflow: graph.Graph) -> Facts:
        doubtful = set(_doubtful(workflow, self._given))
        settled = {pair: self._settled[pair] for pair in doubtful if pair in self._settled}
        asked = doubtful - settled.keys()
        if not asked:
            return Facts(settled=settled)
        combos = await self._comfy.combos({class_type for class_type, _ in asked})
        is_listed = any(name in combos[class_type] for class_type, name in asked)
        folders = await self._comfy.last_listing() if is_listed else {}
        facts = Facts(folders, combos, settled)
        for class_type, name in asked:
            where = place(class_type, name, facts, self._given)
            if where is None or where.is_sure:
                self._settled[class_type, name] = None if where is None else where.folder
        return facts


def _doubtful(workflow: graph.Graph, given: ModelInputs) -> Iterable[tuple[str, str]]:
    """Yield (class, input) of the URLs that stand where neither table nor name tells enough."""
    for ref in graph.urls(workflow):
        class_type = workflow[ref.node_id]["class_type"]
        # A picture's place is told by its name, so that it is taken also while ComfyUI restarts.
        is_media = ref.name in graph.MEDIA_INPUTS and ref.name not in given.get(class_type, {})
        if not is_media and ref.name not in graph.MODEL_INPUTS.get(class_type, {}):
            yield class_type, ref.name
