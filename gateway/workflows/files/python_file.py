"""Workflows in Python, as they tell what they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from gateway import errors
from gateway.workflows.files import fields
from gateway.workflows.files.assembly import Candidate, version_of
from gateway.workflows.files.mistakes import Mistake, near, shown
from gateway.workflows.workflow import Workflow


class ScriptInfo(Protocol):
    """What a workflow in Python says of itself."""

    @property
    def request_schema(self) -> Mapping[str, Any]:
        """JSON Schema of its `Request`."""

    @property
    def description(self) -> str | None:
        """One for people."""

    @property
    def route(self) -> str | None:
        """A second address."""

    @property
    def preset(self) -> str | None:
        """Applied where a request names none."""


class Scripts(Protocol):
    """Looks into workflows in Python, in a process of their own."""

    async def inspect(self, path: Path, source: str) -> ScriptInfo:
        """Return what a file says of itself; raises ScriptMistake."""


async def inspected(
    candidate: Candidate, folder: Path, scripts: Scripts, presets: Collection[str]
) -> Candidate:
    """Return a candidate with the workflow that its Python says it is."""
    source, text = candidate.source, candidate.script or ""
    file = source.files[0]
    try:
        info = await scripts.inspect(folder / file, text)
    except errors.ScriptMistake as failure:
        return _broken(candidate, failure.line, failure.column, failure.message)
    if info.route is not None and (problem := fields.route(info.route)):
        return _broken(candidate, 1, 1, f"ROUTE: {problem}")
    if info.preset is not None and info.preset not in presets:
        known = near(info.preset, presets)
        return _broken(candidate, 1, 1, f"PRESET: there is no {shown(info.preset)}; {known}")
    made = Workflow(
        source.name,
        {},
        description=info.description,
        route=info.route,
        preset=info.preset,
        request_schema=info.request_schema,
        script=folder / file,
        source=text,
        version=version_of(text.encode()),
    )
    return replace(candidate, workflow=made)


def _broken(candidate: Candidate, line: int, column: int, said: str) -> Candidate:
    wrong = Mistake(candidate.source.files[0], line, column, said)
    return replace(candidate, mistakes=(wrong,))
