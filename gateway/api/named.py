"""POST /workflow/{name}: values by the names of parameters in, pictures out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from gateway import errors, graph
from gateway.api import (
    acceptance,
    asked,
    forms,
    graph_json,
    media_values,
    prompt,
    rehearsal,
    wishes,
)
from gateway.api.asked import Asked, Drawn
from gateway.api.parts import PARTS, Parts
from gateway.api.wishes import Wishes
from gateway.schemas import JobRequest, WorkflowRequest, parse
from gateway.workflows import build, json_schema, seeds, values
from gateway.workflows.build import Built
from gateway.workflows.workflow import MEDIA, Workflow

#: The values that a graph was made with, told of the graph as it was admitted.
Used = Callable[[graph.Graph], dict[str, Any]]
#: What elsewhere holds what a caller has to say.
_OTHER_PLACES = ("prompt", "input", "params")
_EXAMPLE = '{"input": {"<parameter>": ...}}'
_UNKNOWN = forms.Accepts({}, frozenset(), is_unknown=True)


async def post_workflow(request: web.Request) -> web.StreamResponse:
    """Run a named workflow with these values and answer with its outputs, or say why not."""
    name = request.match_info["name"]
    try:
        workflow = request.app[PARTS].workflows.get(name)
    except (errors.WorkflowNotFound, errors.WorkflowBroken, errors.NotReady) as failure:
        return await _answer_retry(request, name, failure)
    return await answer(request, workflow)


async def _answer_retry(
    request: web.Request, name: str, failure: errors.GatewayError
) -> web.StreamResponse:
    """Answer with the job that a request made while the workflow was there, else why it is not."""
    scope = scope_of(name)
    try:
        if forms.is_form(request):
            form = await forms.receive(request, _UNKNOWN, scope)
            received = form.received
        else:
            received = await asked.receive(request, scope, _EXAMPLE)
        wire, _ = parse(WorkflowRequest, received.body, strict=False)
    except errors.RequestRefused:
        raise failure from None
    return await retried(request, asked.asked(received, wire, [], draw_nothing), failure)


async def retried(
    request: web.Request,
    wanted: Asked,
    failure: errors.GatewayError,
    begun: prompt.Begun | None = None,
) -> web.StreamResponse:
    """Answer a request whose workflow is gone as the job that it made; raises `failure`."""
    parts = request.app[PARTS]
    if rehearsal.is_asked(request) or not await acceptance.is_made(parts, wanted):
        raise failure
    return await prompt.respond(request, wanted, begun)


async def draw_nothing(_: Parts) -> Drawn:
    raise errors.WorkflowNotFound("The workflow is gone, and so is the job that was made of it.")


async def answer(request: web.Request, workflow: Workflow) -> web.StreamResponse:
    """Answer a request for a named workflow, by whatever address it came."""
    return await prompt.respond(request, await _understood(request, workflow))


async def _understood(request: web.Request, workflow: Workflow) -> Asked:
    scope = scope_of(workflow.name)
    problems: list[dict[str, Any]] = []
    if forms.is_form(request):
        form = await forms.receive(request, _accepts(workflow), scope)
        received, problems = form.received, form.problems
    else:
        received = await asked.receive(request, scope, _EXAMPLE)
    check_misplaced(workflow, received.body)
    strict = request.app[PARTS].settings.strict_requests
    wire, warnings = parse(WorkflowRequest, received.body, strict=strict)
    drawing = Drawing(workflow, wire, wire.input, problems, is_form=forms.is_form(request))
    return asked.asked(received, wire, warnings, drawing.draw)


def scope_of(name: str) -> str:
    """Return what makes the same body another request, when another workflow is asked for."""
    return f"\0workflow\0{name}"


def _accepts(workflow: Workflow) -> forms.Accepts:
    if workflow.script is not None:
        # Which of its fields are files, its own code knows alone.
        told = dict.fromkeys(_names(workflow), "a value")
        return forms.Accepts(told, frozenset(told))
    told = {name: values.allowed(one) for name, one in workflow.parameters.items()}
    media = (name for name, one in workflow.parameters.items() if one.type in MEDIA)
    return forms.Accepts(told, frozenset(media))


def _names(workflow: Workflow) -> Collection[str]:
    if workflow.script is None:
        return workflow.parameters.keys()
    names: Collection[str] = (workflow.request_schema or {}).get("properties", {}).keys()
    return names


def check_misplaced(workflow: Workflow, body: Any, place: str = "input") -> None:
    """Refuse values beside their `place`: left out, they would make quite another picture."""
    own = {place, "workflow_id", *JobRequest.model_fields}
    beside = body.keys() - own if isinstance(body, dict) else set()
    misplaced = sorted(beside & {*_names(workflow), *_OTHER_PLACES})
    if not misplaced:
        return
    first = misplaced[0][:100]
    inside = "..." if first in ("input", "params") else f'"{first}": ...'
    more = "; a graph of your own goes to /prompt" if first == "prompt" else ""
    raise errors.InvalidRequest(
        f"{', '.join(misplaced)[:200]}: parameters of a named workflow stand in `{place}`.",
        hint=f'Send {{"{place}": {{{inside}}}}}{more}.',
        location=first,
    )


@dataclass(frozen=True)
class Drawing:
    """Makes the graph of a named workflow for one request."""

    workflow: Workflow
    request: JobRequest
    given: Mapping[str, Any]
    #: What was found wrong while the request was read.
    problems: list[dict[str, Any]] = field(default_factory=list)
    is_form: bool = False
    #: Where its values stand in the request.
    place: str = "input"

    async def draw(self, parts: Parts) -> Drawn:
        """Return the graph.

        Raises InvalidParameters with all that is wrong, UnknownPreset, PresetRefused,
        UnknownLora, LoraRefused, BuildFailed.
        """
        try:
            if self.workflow.script is not None:
                return await self._of_script(parts)
            return await self._of_graph(parts)
        except errors.InvalidParameters as failure:
            if failure.location is not None:
                _, dot, rest = failure.location.partition(".")
                failure.location = f"{self.place}{dot}{rest}"
            raise

    async def _of_graph(self, parts: Parts) -> Drawn:
        settled = await self._settled(parts)
        wished = await wishes.wished(parts, self.request, self.workflow.preset)
        make = partial(
            build.build, self.workflow, settled, wished.preset, wished.loras, seeds.drawn
        )
        is_large = len(self.workflow.graph or {}) > graph_json.LARGE_GRAPH
        built = await asyncio.to_thread(make) if is_large else make()
        return self._drawn(built, wished, lambda admitted: build.used(self.workflow, admitted))

    async def _settled(self, parts: Parts) -> dict[str, Any]:
        """Return the values, files as the names of files; raises InvalidParameters."""
        parameters = self.workflow.parameters
        problems = list(self.problems)
        told = {problem["parameter"] for problem in problems}
        given = {name: value for name, value in self.given.items() if name not in told}
        try:
            sound = values.check(parameters, given, is_form=self.is_form)
        except errors.InvalidParameters as failure:
            problems += [one for one in failure.details["errors"] if one["parameter"] not in told]
            told |= {problem["parameter"] for problem in problems}
            sound = {name: value for name, value in given.items() if name not in told and value}
        files, more = await media_values.admit(parts.inputs, parameters, sound)
        problems += more
        if problems:
            raise values.refusal(_in_order(problems, parameters))
        return {**sound, **files}

    async def _of_script(self, parts: Parts) -> Drawn:
        if self.problems:
            raise values.refusal(self.problems)
        script, source = self.workflow.script, self.workflow.source
        assert script is not None
        assert source is not None
        given = await media_values.without_base64(parts.inputs, self.given)
        made = await parts.scripts.build(source, script, given, is_form=self.is_form)
        wished = await wishes.wished(parts, self.request, self.workflow.preset)
        edit = partial(build.edited, made, wished.preset, wished.loras)
        built = await asyncio.to_thread(edit) if len(made) > graph_json.LARGE_GRAPH else edit()
        hidden = json_schema.secrets_of(self.workflow.request_schema or {})
        told = {name: value for name, value in given.items() if name not in hidden}
        shown = media_values.without_users(told)
        return self._drawn(built, wished, lambda _: shown)

    def _drawn(self, built: Built, wished: Wishes, used: Used) -> Drawn:
        def echo(admitted: graph.Graph) -> dict[str, Any]:
            preset = {} if wished.preset_name is None else {"preset": wished.preset_name}
            return {**preset, "workflow": self.workflow.name, "input": used(admitted)}

        places = {
            place: self.place + where.removeprefix("input") for place, where in built.places.items()
        }
        places |= wished.places(built.workflow)
        return Drawn(built.workflow, built.warnings, places, echo, built.changes)


def _in_order(problems: list[dict[str, Any]], order: Mapping[str, Any]) -> list[dict[str, Any]]:
    ranks = {name: rank for rank, name in enumerate(order)}
    return sorted(problems, key=lambda problem: ranks.get(problem["parameter"], len(ranks)))
