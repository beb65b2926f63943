"""What a request asks of any graph beside its own values: a preset, and LoRAs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import aiohttp

from gateway import errors, graph
from gateway.api.parts import Parts
from gateway.log import logger
from gateway.schemas import Credential, JobRequest, LoraWish
from gateway.storage import credentials
from gateway.workflows.loras.injection import NODE_ID, Lora
from gateway.workflows.sampling.presets import Preset

_CLASS, _INPUT, _FOLDER = "LoraLoader", "lora_name", "loras"
_CLOSEST = 5
_SHOWN = 200


@dataclass(frozen=True)
class Wishes:
    """What is to be done to a graph."""

    preset: Preset | None = None
    #: What the preset is called.
    preset_name: str | None = None
    loras: list[Lora] = field(default_factory=list)
    #: File of a LoRA -> where the request speaks of it.
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the graph stays as it is."""
        return self.preset is None and not self.loras

    def places(self, made: graph.Graph) -> dict[str, str]:
        """Return where the request speaks of what was put into a graph for it."""
        return {
            f"prompt.{node_id}.inputs.{_INPUT}": origin
            for node_id, node in made.items()
            if node_id.startswith(NODE_ID)
            and (origin := self.origins.get(node.get("inputs", {}).get(_INPUT, ""))) is not None
        }


async def wished(parts: Parts, request: JobRequest, default_preset: str | None = None) -> Wishes:
    """Return what a request asks for; `default_preset` holds where it names no preset.

    Raises UnknownPreset, UnknownLora, InvalidRequest, WorkflowBroken when the workflow's own preset
    is gone; NotReady before ComfyUI's first answer.
    """
    # null is a wish, too: for none.
    is_default = "preset" not in request.model_fields_set
    name = default_preset if is_default else request.preset
    if is_default and name is not None and name not in parts.workflows.presets:
        raise errors.WorkflowBroken(
            f"The preset {name!r} of the workflow is there no longer.",
            hint="Name another in `preset`; or the operator puts it back into presets.yaml.",
        )
    preset = None if name is None else _preset(parts, name)
    if request.lora_preset is None and not request.loras:
        return Wishes(preset, name)
    wanted = [(lora, "lora_preset") for lora in _listed(parts, request.lora_preset)]
    wanted += [_given(wish, f"loras.{at}") for at, wish in enumerate(request.loras)]
    files = await _Names(parts).files([(lora.file, origin) for lora, origin in wanted])
    loras = [replace(lora, file=file) for (lora, _), file in zip(wanted, files, strict=True)]
    origins = dict(zip(files, (origin for _, origin in wanted), strict=True))
    return Wishes(preset, name, loras, origins)


def _preset(parts: Parts, name: str) -> Preset:
    known = parts.workflows.presets
    if name not in known:
        raise _unknown_preset("preset", name, known)
    return known[name]


def _listed(parts: Parts, name: str | None) -> Sequence[Lora]:
    known = parts.workflows.lora_presets
    if name is None:
        return ()
    if name not in known:
        raise _unknown_preset("lora_preset", name, known)
    return known[name]


def _unknown_preset(place: str, name: str, known: Collection[str]) -> errors.UnknownPreset:
    told = place.replace("_", " ")
    if not known:
        hint = "There are none: lora_presets.yaml in WORKFLOW_DIR names them."
    elif close := _closest(name, known):
        hint = f"Did you mean {', '.join(close)}? GET /presets lists all."
    else:
        hint = f"There are {', '.join(sorted(known))[:_SHOWN]}; GET /presets lists all."
    return errors.UnknownPreset(
        f"There is no {told} {name[:_SHOWN]!r}.", hint=hint, location=place, presets=sorted(known)
    )


def _given(wish: LoraWish, place: str) -> tuple[Lora, str]:
    """Return a LoRA and where it stands; raises InvalidRequest for a URL in the wrong field."""
    kind = "name" if wish.url is None else "url"
    file = wish.name if wish.url is None else wish.url
    assert file is not None, "the schema asks for one of the two"
    place = f"{place}.{kind}"
    if graph.is_url(file) != (kind == "url"):
        raise errors.InvalidRequest(
            f"{place}: this is {'no URL' if kind == 'url' else 'a URL'}.",
            hint=f"A URL begins with one of {', '.join(f'{one}://' for one in graph.SCHEMES)}."
            if kind == "url"
            else "Give a URL as url.",
            location=place,
        )
    return Lora(file, wish.strength, wish.strength_clip, wish.target), place


class _Names:
    """The LoRAs that ComfyUI lists, asked for anew once when one is not among them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_fresh = False

    async def files(self, wanted: Sequence[tuple[str, str]]) -> list[str]:
        """Return each file as ComfyUI lists it, or its URL; raises UnknownLora, NotReady."""
        named = [file for file, _ in wanted if not graph.is_url(file)]
        listed = await self._listed() if named else ()
        if any(not _called(file, listed) for file in named) and not self._is_fresh:
            await self._refresh()
            listed = await self._listed()
        return [
            file if graph.is_url(file) else _the_one(file, listed, place) for file, place in wanted
        ]

    async def _listed(self) -> Sequence[str]:
        known = self._parts.catalog.get(_CLASS)
        choices = None if known is None else known.choices.get(_INPUT)
        if choices is None:
            self._is_fresh = True
            return (await self._parts.folders.last_listing()).get(_FOLDER, ())
        return [one for one in choices if isinstance(one, str)]

    async def _refresh(self) -> None:
        try:
            await self._parts.refresh_classes({_CLASS})
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
            # ComfyUI may be restarting: what it said last still holds.
            logger.debug("the list of LoRAs was not refreshed", error=str(failure)[:_SHOWN])
        self._is_fresh = True


def _called(name: str, listed: Sequence[str]) -> list[str]:
    """Return the files of this name; without its folder or its ending it may name several."""
    if name in listed:
        return [name]
    return [file for file in listed if name in _short_names(file)]


def _short_names(file: str) -> set[str]:
    # A ComfyUI on Windows lists folders with backslashes.
    path = PurePosixPath(file.replace("\\", "/"))
    return {str(path), path.name, path.stem, str(path.with_suffix(""))}


def _the_one(name: str, listed: Sequence[str], place: str) -> str:
    found = _called(name, listed)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(found[:_CLOSEST])
        raise errors.UnknownLora(
            f"{len(found)} LoRAs are called {name[:_SHOWN]!r}: {several[: 2 * _SHOWN]}.",
            hint="Name the one you mean with its folder and its ending.",
            location=place,
            closest=found[:_CLOSEST],
        )
    close = _closest(name, listed)
    raise errors.UnknownLora(
        f"There is no LoRA {name[:_SHOWN]!r}.",
        hint=f"Did you mean {', '.join(close)}? GET /loras lists all."
        if close
        else "GET /loras lists all; one that is elsewhere is given by its URL.",
        location=place,
        closest=close,
    )


def _closest(name: str, known: Collection[str]) -> list[str]:
    return difflib.get_close_matches(name[:_SHOWN], known, _CLOSEST, 0.4)


def without_users(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[Credential]]:
    """Take user and password out of the URLs of LoRAs: what a request says is stored and echoed."""
    given = fields.get("loras") or []
    found: list[Credential] = []
    bare = []
    for one in given:
        url, credential = credentials.taken_out(one["url"]) if one.get("url") else (None, None)
        bare.append(one if credential is None else {**one, "url": url})
        found += [] if credential is None else [credential]
    return ({**fields, "loras": bare} if found else dict(fields)), found
