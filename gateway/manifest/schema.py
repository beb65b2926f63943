"""The manifest: what to install and fetch around the start of ComfyUI."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, TypeAlias

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from gateway import errors, marks
from gateway.config import Settings
from gateway.manifest import fields, sources
from gateway.manifest.programs import masked

#: What pydantic finds -> how an operator reads it.
_SENTENCES = {
    "missing": "{key} is missing",
    "list_type": "this must be a list",
    "model_type": "this must be a mapping of keys to values",
    "dict_type": "this must be a mapping of keys to values",
    "string_type": "this must be text; put it in quotes if it looks like a number",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelEntry(_Strict):
    """A model to fetch, and where ComfyUI finds it."""

    url: Annotated[str, AfterValidator(fields.url)] = Field(repr=False)
    local_path: Annotated[str, AfterValidator(fields.local_path)] | None = None
    type: Annotated[str, AfterValidator(fields.folder)] | None = None
    name: Annotated[str, AfterValidator(fields.relative)] | None = None
    sha256: Annotated[str, AfterValidator(fields.sha256)] | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> ModelEntry:
        if (self.local_path is None) == (self.type is None):
            raise ValueError("a model has either local_path (checkpoints/x.safetensors) or type")
        if self.name is not None and self.type is None:
            raise ValueError("name goes with type; local_path has the name in it")
        return self

    @property
    def folder(self) -> str:
        """The folder of models it belongs to."""
        return self.type or (self.local_path or "").partition("/")[0]

    @property
    def filename(self) -> str | None:
        """Its name below that folder; None: the name that the cache gives it."""
        return self.name or (self.local_path or "").partition("/")[2] or None

    @property
    def shown(self) -> str:
        """How logs name it; no secrets."""
        return f"{self.folder}/{self.filename}" if self.filename else masked(self.url)


Models: TypeAlias = Annotated[tuple[ModelEntry, ...], BeforeValidator(fields.as_tuple)]
CustomNode: TypeAlias = Annotated[
    sources.GitNode | sources.RegistryNode, PlainValidator(fields.source)
]


class ModelLists(_Strict):
    """The models of a manifest."""

    #: ComfyUI is not started without them.
    before_start: Models = ()
    #: Fetched while it runs already.
    after_start: Models = ()


class Manifest(_Strict):
    """What an operator wants installed and fetched around the start of ComfyUI."""

    apt: Annotated[
        tuple[Annotated[str, AfterValidator(fields.apt)], ...], BeforeValidator(fields.as_tuple)
    ] = ()
    pip: Annotated[
        tuple[Annotated[str, AfterValidator(fields.pip)], ...], BeforeValidator(fields.as_tuple)
    ] = ()
    custom_nodes: Annotated[tuple[CustomNode, ...], BeforeValidator(fields.as_tuple)] = ()
    models: Annotated[ModelLists, BeforeValidator(fields.as_mapping)] = ModelLists()
    #: Class -> input -> folder of models, for loaders that nothing else knows.
    model_inputs: Annotated[
        Mapping[str, dict[str, Annotated[str, AfterValidator(fields.folder)]]],
        BeforeValidator(fields.as_mapping),
    ] = Field(default={}, validation_alias=AliasChoices("model_inputs", "MODEL_INPUTS"))


def load(settings: Settings) -> Manifest | None:
    """Return the manifest, None when there is none; raises SettingsInvalid with every mistake."""
    if settings.manifest_json:
        return parse(settings.manifest_json, "MANIFEST_JSON", settings)
    if settings.manifest is None:
        return None
    try:
        text = settings.manifest.read_text(encoding="utf-8-sig")
    except OSError as failure:
        raise errors.SettingsInvalid(
            f"MANIFEST={settings.manifest}: cannot be read: {failure.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise errors.SettingsInvalid(f"MANIFEST={settings.manifest}: it is not UTF-8") from None
    return parse(text, str(settings.manifest), settings)


def parse(text: str, origin: str, settings: Settings) -> Manifest:
    """Return the manifest that a text holds; raises SettingsInvalid with every mistake."""
    document = marks.read(text)
    if not document.mistakes:
        try:
            manifest = Manifest.model_validate(
                {} if document.value is None else document.value, context={"settings": settings}
            )
        except ValidationError as failure:
            document.mistakes += _mistakes(failure, document)
        else:
            document.mistakes += [
                *_same_folders(manifest, document),
                *_same_names(manifest, document),
            ]
    if document.mistakes:
        raise errors.SettingsInvalid(
            "\n".join(
                f"{origin}, {mistake.place}: {mistake.sentence}"
                for mistake in sorted(set(document.mistakes))
            )
        )
    return manifest


def _mistakes(failure: ValidationError, document: marks.Document) -> Iterator[marks.Mistake]:
    for found in failure.errors(include_url=False, include_input=False):
        path = found["loc"]
        if found["type"] == "extra_forbidden":
            yield marks.Mistake(document.place_of_key(path), _unknown(path))
        else:
            yield marks.Mistake(document.place(path), _sentence(found))


def _unknown(path: marks.Path) -> str:
    key = str(path[-1])
    kinds: dict[int, type[BaseModel]] = {1: Manifest, 2: ModelLists}
    fields_here = kinds.get(len(path), ModelEntry).model_fields
    close = difflib.get_close_matches(key.lower(), fields_here, n=1, cutoff=0.5)
    known = f"did you mean {close[0]}?" if close else f"known: {', '.join(fields_here)}"
    return f"there is no key {key[:80]!r}; {known}"


def _sentence(found: ErrorDetails) -> str:
    key = found["loc"][-1] if found["loc"] else ""
    known = _SENTENCES.get(found["type"])
    return known.format(key=key) if known else found["msg"].removeprefix("Value error, ")


def _same_folders(manifest: Manifest, document: marks.Document) -> Iterator[marks.Mistake]:
    """Find custom nodes that would be put into one folder."""
    seen: set[str] = set()
    for index, node in enumerate(manifest.custom_nodes):
        if node.name.lower() in seen:
            place = document.place(("custom_nodes", index))
            yield marks.Mistake(place, f"there is another custom node called {node.name}")
        seen.add(node.name.lower())


def _same_names(manifest: Manifest, document: marks.Document) -> Iterator[marks.Mistake]:
    """Find models of different URLs that are to bear one name."""
    seen: dict[str, str] = {}
    for key in ModelLists.model_fields:
        for index, model in enumerate(getattr(manifest.models, key)):
            if model.filename and seen.setdefault(model.shown, model.url) != model.url:
                place = document.place(("models", key, index))
                yield marks.Mistake(place, f"another URL is to be called {model.shown}, too")
