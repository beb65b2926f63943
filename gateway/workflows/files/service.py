"""Which version of each name is in service; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.workflows.files.assembly import Candidate
from gateway.workflows.files.mistakes import Mistake
from gateway.workflows.files.snapshot import Snapshot
from gateway.workflows.workflow import Workflow


@dataclass(frozen=True)
class Entry:
    """A name in the folder: the version in service, and what is wrong with a newer one."""

    name: str
    workflow: Workflow | None
    mistakes: tuple[Mistake, ...] = ()
    #: Whether a newer one waits for what ComfyUI tells of its nodes.
    waits: bool = False


@dataclass(frozen=True)
class Service:
    """All names, and which of them a route belongs to."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)

    @property
    def workflows(self) -> dict[str, Workflow]:
        """Those that can be called."""
        return {name: entry.workflow for name, entry in self.entries.items() if entry.workflow}


def settle(snapshot: Snapshot, before: Service, is_taken: Callable[[str], bool]) -> Service:
    """Return what is in service now: the good ones, and the last good version of the others."""
    entries: dict[str, Entry] = {}
    routes: dict[str, str] = {}
    for candidate in _in_turn(snapshot, before):
        name = candidate.source.name
        old = before.entries.get(name)
        if candidate.is_pending:
            if old is not None:
                entries[name] = old
                _claim(old, routes)
            continue
        mistakes = snapshot.mistakes_of(candidate)
        workflow = candidate.workflow
        if workflow is not None and (problem := _route_problem(workflow, routes, is_taken)):
            workflow, mistakes = None, (*mistakes, _at_route(candidate, problem))
        if workflow is None and old is not None:
            workflow = old.workflow
        entries[name] = Entry(name, workflow, mistakes, candidate.waits and not mistakes)
        _claim(entries[name], routes)
        if workflow is None and candidate.waits and candidate.route is not None:
            routes.setdefault(candidate.route.value, name)
    return Service(dict(sorted(entries.items())), routes)


def _claim(entry: Entry, routes: dict[str, str]) -> None:
    if entry.workflow is not None and entry.workflow.route is not None:
        routes.setdefault(entry.workflow.route, entry.name)


def _in_turn(snapshot: Snapshot, before: Service) -> Iterator[Candidate]:
    """Yield first those that keep a route which they have, then by name."""

    def turn(candidate: Candidate) -> tuple[bool, str]:
        name = candidate.source.name
        old = before.entries.get(name)
        made = candidate.workflow or (old.workflow if old else None)
        holds = made is not None and before.routes.get(made.route or "") == name
        return not holds, name

    yield from sorted(snapshot.candidates.values(), key=turn)


def _route_problem(
    workflow: Workflow, routes: Mapping[str, str], is_taken: Callable[[str], bool]
) -> str | None:
    route = workflow.route
    if route is None:
        return None
    if is_taken(route):
        return f"the gateway itself answers at {route}; choose another route"
    if route in routes:
        return f"{route} is the route of {routes[route]} already; choose another"
    return None


def _at_route(candidate: Candidate, problem: str) -> Mistake:
    if candidate.route is not None:
        return candidate.route.mistake(problem)
    return Mistake(candidate.source.files[0], 1, 1, problem)
