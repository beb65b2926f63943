"""A manifest and its graph make a workflow; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.workflows.files import fields, places
from gateway.workflows.files.graph_file import GraphFile
from gateway.workflows.files.mistakes import Mistake, Spot, near, shown
from gateway.workflows.files.parameters import Definition, definition, parameter, problem_of
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow

FIELDS: dict[str, fields.Check] = {
    "workflow_file": fields.no_control,
    "description": fields.text,
    "parameters": fields.anything,
    "overrides": fields.mapping,
    "route": fields.route,
    "preset": fields.text,
    "outputs": fields.anything,
    "example": fields.mapping,
}


@dataclass(frozen=True)
class Shared:
    """What all manifests of the folder share."""

    #: `base.yaml`; None: there is none that could be read.
    base: Spot | None = None
    #: Whether there is one, which cannot be read: what it defines is not known.
    is_base_broken: bool = False
    presets: Collection[str] = ()


@dataclass(frozen=True)
class Manifest:
    """What a manifest says, each field checked by itself."""

    spot: Spot
    said: Mapping[str, Spot] = field(default_factory=dict)
    definitions: tuple[Definition, ...] = ()
    uses_base: bool = False

    def text(self, key: str) -> str | None:
        """Return a field that is text."""
        return self.said[key].value if key in self.said else None


def read(spot: Spot, shared: Shared, wrong: list[Mistake]) -> Manifest:
    """Return what a manifest says, with what base.yaml says of its parameters."""
    told = fields.known_fields(spot, FIELDS, wrong)
    said = {key: part for key, part in told.items() if part.value is not None}
    if "preset" in said and said["preset"].value not in shared.presets:
        preset = said["preset"]
        known = near(preset.value, shared.presets)
        wrong.append(preset.mistake(f"there is no preset {shown(preset.value)}; {known}"))
    definitions, uses_base = _definitions(said, shared, wrong)
    return Manifest(spot, said, definitions, uses_base)


def workflow(
    name: str, manifest: Manifest, found: GraphFile, version: str, wrong: list[Mistake]
) -> Workflow:
    """Return the workflow; what is wrong with its parameters is added to the mistakes."""
    nodes = places.Nodes.of(found.graph)
    made = [parameter(defined, nodes, wrong) for defined in manifest.definitions]
    parameters = {one.name: one for one in made if one is not None}
    if len(parameters) == len(made):
        wrong.extend(_bound_twice(manifest, parameters))
        wrong.extend(_example_mistakes(manifest, parameters))
    said = manifest.said
    outputs = places.named(said["outputs"], nodes, wrong) if "outputs" in said else ()
    return Workflow(
        name,
        parameters,
        graph=found.graph,
        description=manifest.text("description") or _description(found.metadata),
        metadata=found.metadata,
        route=manifest.text("route"),
        preset=manifest.text("preset"),
        outputs=outputs,
        example=said["example"].value if "example" in said else {},
        warnings=found.warnings,
        version=version,
    )


def alone(name: str, found: GraphFile, version: str) -> Workflow:
    """Return the workflow of a graph that has no manifest: one without parameters."""
    return Workflow(
        name,
        {},
        graph=found.graph,
        description=_description(found.metadata),
        metadata=found.metadata,
        warnings=found.warnings,
        version=version,
    )


def _description(metadata: Mapping[str, Any]) -> str | None:
    told = metadata.get("description")
    return told if isinstance(told, str) else None


def _definitions(
    said: Mapping[str, Spot], shared: Shared, wrong: list[Mistake]
) -> tuple[tuple[Definition, ...], bool]:
    """Return the parameters in their order, and whether base.yaml has a part in them."""
    found: dict[str, Definition] = {}
    uses_base = False
    for name, spot, has_own in _named(said, wrong):
        if name in found:
            wrong.append(spot.mistake(f"{shown(name)} stands here twice"))
        elif has_own:
            found[name] = definition(name, spot, wrong)
        else:
            uses_base = True
            based = _based(name, spot, shared, wrong)
            if based is not None:
                found[name] = based
    for name, spot in _overrides(said):
        if name in found:
            found[name] = found[name].under(definition(name, spot, wrong))
        elif not (uses_base and shared.is_base_broken):
            told = f"there is no parameter {shown(name)} to override; {near(name, found)}"
            wrong.append(spot.mistake_of_key(told))
    return tuple(found.values()), uses_base


def _named(said: Mapping[str, Spot], wrong: list[Mistake]) -> Iterator[tuple[str, Spot, bool]]:
    """Yield each parameter, and whether it is defined here; else base.yaml defines it."""
    spot = said.get("parameters")
    if spot is None:
        return
    if isinstance(spot.value, dict):
        for name, value in spot.value.items():
            yield name, spot.at(name), value is not None
    elif isinstance(spot.value, list):
        for index, name in enumerate(spot.value):
            if isinstance(name, str):
                yield name, spot.at(index), False
            else:
                wrong.append(spot.at(index).mistake("this must be the name of a parameter"))
    else:
        wrong.append(spot.mistake("this must be a mapping of parameters, or a list of names"))


def _based(name: str, spot: Spot, shared: Shared, wrong: list[Mistake]) -> Definition | None:
    base = shared.base
    if base is not None and isinstance(base.value, dict) and name in base.value:
        made = definition(name, base.at(name), wrong)
        return replace(made, spot=spot)
    if not shared.is_base_broken:
        known: Collection[str] = base.value if base and isinstance(base.value, dict) else ()
        file = base.file if base else "base.yaml"
        told = f"{file} defines no parameter {shown(name)}; {near(name, known)}"
        wrong.append(spot.mistake(told))
    return None


def _overrides(said: Mapping[str, Spot]) -> Iterator[tuple[str, Spot]]:
    if "overrides" in said:
        for name in said["overrides"].value:
            yield name, said["overrides"].at(name)


def _bound_twice(manifest: Manifest, parameters: Mapping[str, Parameter]) -> Iterator[Mistake]:
    """Find inputs that two parameters would write: one of them would do nothing."""
    taken: dict[Place, str] = {}
    for defined in manifest.definitions:
        for place in parameters[defined.name].places:
            other = taken.setdefault(place, defined.name)
            if other != defined.name:
                where = f"{place.node_id}.inputs.{place.name}"
                yield defined.said["bind"].mistake(f"{where} is bound to {other} already")


def _example_mistakes(manifest: Manifest, parameters: Mapping[str, Parameter]) -> Iterator[Mistake]:
    if "example" not in manifest.said:
        return
    example = manifest.said["example"]
    for name, value in example.value.items():
        spot = example.at(name)
        if name not in parameters:
            told = f"there is no parameter {shown(name)}; {near(name, parameters)}"
            yield spot.mistake_of_key(told)
        elif problem := problem_of(parameters[name], value):
            yield spot.mistake(f"the example does not fit: {problem}")
