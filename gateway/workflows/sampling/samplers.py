"""The samplers of a graph, read and written in a sampler's words; pure.

One reading for all who speak of a graph in these words: presets and overrides write there, sidecars
read there, a manifest is proposed from it.

A setting behind a link is read at the end of the link. It is written there too, where the constant
feeds nothing but this setting; else the link is replaced by the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway import graph
from gateway.workflows.sampling.links import Place, Wires
from gateway.workflows.sampling.sampler_nodes import CLASSES, SETTINGS, TEXTS, Sampler, samplers

__all__ = [
    "CLASSES",
    "SETTINGS",
    "SIZES",
    "Place",
    "Sampler",
    "edits",
    "samplers",
    "values",
    "writable",
]

SIZES = ("width", "height")
#: Latents are a multiple of this, in pixels.
_GRAIN = 8


def values(workflow: graph.Graph, sampler: Sampler) -> dict[str, Any]:
    """Return what a sampler is told, by setting.

    A setting that is computed while the graph runs is not there.
    """
    wires = Wires(workflow)
    told: dict[str, Any] = dict(sampler.fixed)
    for name, places in sampler.places.items():
        if name in TEXTS:
            parts = [text for place in places if (text := wires.text(place)) is not None]
            value: Any = "\n".join(dict.fromkeys(parts)) if parts else None
        else:
            value = _KINDS[name](wires.value(places[0]))
        if value is not None:
            told[name] = value
    return {name: told[name] for name in SETTINGS if name in told}


def _number(value: Any) -> float | None:
    """Return a number as ComfyUI reads it, which takes "7.5" for one."""
    try:
        found = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _whole(value: Any) -> int | None:
    found = value if isinstance(value, int) else _number(value)
    # Larger ones are none that ComfyUI takes, and no JSON of ours can say them.
    return None if found is None or abs(found) >= 2**64 else int(found)


def _word(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) else None


_KINDS: dict[str, Callable[[Any], Any]] = {
    "seed": _whole,
    "steps": _whole,
    "cfg": _number,
    "sampler": _word,
    "scheduler": _word,
    "denoise": _number,
    "width": _whole,
    "height": _whole,
}


def edits(
    workflow: graph.Graph, settings: Mapping[str, Any], found: Sequence[Sampler] | None = None
) -> tuple[dict[Place, Any], list[str]]:
    """Return what to write for these settings, and the settings that found no place.

    All samplers get them. A size goes to where the first latent is made, and what is resized behind
    it keeps its proportion. What counts in steps keeps its share of them. A prompt that is put
    together of several texts has no place. `found`: its samplers, where they are known.
    """
    found = samplers(workflow) if found is None else found
    wires = Wires(workflow)
    edited = dict(_scaled_sizes(wires, found, settings))
    if "steps" in settings:
        edited |= _scaled_steps(wires, found, settings["steps"])
    homeless = []
    for name, value in settings.items():
        places = [place for sampler in found for place in writable(wires, sampler, name)]
        edited |= dict.fromkeys(places, value)
        if not places:
            homeless.append(name)
    return edited, homeless


def writable(wires: Wires, sampler: Sampler, setting: str) -> tuple[Place, ...]:
    """Return the inputs to write for a setting of one sampler."""
    places = sampler.places.get(setting, ())
    if setting in SIZES and sampler.before is not None:
        return ()
    if setting in TEXTS and len({place.node_id for place in places}) > 1:
        return places if len({wires.text(place) for place in places}) == 1 else ()
    return places


def _scaled_steps(
    wires: Wires, found: Sequence[Sampler], steps: int
) -> Iterator[tuple[Place, Any]]:
    for sampler in found:
        before = _whole(wires.value(sampler.places["steps"][0])) if _counts(sampler) else None
        for place in sampler.counted if before else ():
            at = _whole(wires.value(place))
            if at is not None and before is not None:
                yield place, _share(at, before, steps)


def _counts(sampler: Sampler) -> bool:
    return bool(sampler.counted) and "steps" in sampler.places


def _share(at: int, before: int, after: int) -> int:
    """Return the step that a step becomes; a part that had steps keeps one where there are two."""
    if at <= 0 or at > before:
        # ComfyUI's way to say "to the end" is a step that is never reached.
        return max(at, after + 1) if at > before else at
    if at == before:
        return after
    return max(1, min(after - 1, math.floor(at * after / before + 0.5)))


def _scaled_sizes(
    wires: Wires, found: Sequence[Sampler], settings: Mapping[str, Any]
) -> Iterator[tuple[Place, Any]]:
    first = _first(found)
    for sampler in found:
        start = first.get(sampler.node_id)
        for name in SIZES if start else ():
            own, base = sampler.places.get(name), start.places.get(name) if start else None
            was = _whole(wires.value(base[0])) if base else None
            now = _whole(wires.value(own[0])) if own else None
            if name in settings and own and was and now:
                grains = math.floor(now * settings[name] / was / _GRAIN + 0.5)
                yield own[0], max(1, grains) * _GRAIN


def _first(found: Sequence[Sampler]) -> dict[str, Sampler]:
    """Return the sampler that begins the row of each one that goes on with another's latent."""
    told = {sampler.node_id: sampler for sampler in found}
    first: dict[str, Sampler] = {}
    for sampler in found:
        row, current = {sampler.node_id: None}, sampler
        while current.before is not None and current.before not in row:
            current = first.get(current.before, told[current.before])
            row[current.node_id] = None
        if current.before is None:
            first |= dict.fromkeys(
                (node_id for node_id in row if node_id != current.node_id), current
            )
    return first
