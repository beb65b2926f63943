"""POST /jobs/{id}/reproduce: the very graph of a job again, with other values where asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from gateway import errors, graph
from gateway.api import asked, graph_json, prompt, wishes
from gateway.api.asked import Drawn
from gateway.api.parts import PARTS, Parts
from gateway.api.wishes import Wishes
from gateway.jobs.job import Job
from gateway.schemas import ReproduceRequest, parse
from gateway.workflows import build, overrides, reproduction, seeds
from gateway.workflows.build import Built
from gateway.workflows.overrides import Overridden
from gateway.workflows.workflow import Workflow

_EXAMPLE = '{"overrides": {"seed": 7}}, or nothing'
_LOST_SECRETS = (
    "The job was sent with credentials or extra_data, which are never stored; "
    "where they are needed, give them again."
)


async def post_reproduce(request: web.Request) -> web.StreamResponse:
    """Run the graph of a job again and answer with its outputs, or say why not."""
    job_id = request.match_info["id"]
    scope = f"\0reproduce\0{job_id}"
    received = await asked.receive(request, scope, _EXAMPLE, may_be_empty=True)
    strict = request.app[PARTS].settings.strict_requests
    wire, warnings = parse(ReproduceRequest, received.body, strict=strict)
    drawing = Drawing(job_id, wire)
    return await prompt.respond(request, asked.asked(received, wire, warnings, drawing.draw))


@dataclass(frozen=True)
class Drawing:
    """Makes the graph of one request."""

    job_id: str
    request: ReproduceRequest

    async def draw(self, parts: Parts) -> Drawn:
        """Return the graph as it ran, with what is wished for, and then with the overrides.

        Raises JobNotFound, InvalidParameters, UnknownPreset, PresetRefused, UnknownLora,
        LoraRefused, InvalidInput where a file that was sent is not there any more.
        """
        job = await parts.store.get(self.job_id)
        if job is None:
            raise errors.JobNotFound(f"There is no job {self.job_id[:128]!r}.")
        wished = await wishes.wished(parts, self.request)
        make = partial(self._made, job, str(parts.settings.inputs), wished, _source(parts, job))
        is_large = len(job.graph) > graph_json.LARGE_GRAPH
        built, made = await asyncio.to_thread(make) if is_large else make()
        await _check_files(parts, job, made.workflow)
        return Drawn(
            made.workflow,
            [*built.warnings, *([_LOST_SECRETS] if self._lacks_secrets(job) else [])],
            {**wished.places(made.workflow), **made.places},
            lambda _: _told(job, wished.preset_name),
            [*built.changes, *made.changes],
        )

    def _made(
        self, job: Job, input_folder: str, wished: Wishes, source: Workflow | None
    ) -> tuple[Built, Overridden]:
        sent = reproduction.as_sent(job, input_folder)
        built = build.edited(sent, wished.preset, wished.loras)
        given = self.request.overrides
        return built, overrides.overridden(built.workflow, given, source, seeds.drawn)

    def _lacks_secrets(self, job: Job) -> bool:
        return job.needs_secrets and not (self.request.credentials or self.request.extra_data)


def _told(job: Job, preset: str | None) -> dict[str, Any]:
    """Return what the answer tells beside the request: where the graph came from."""
    told = {"workflow": job.request.get("workflow"), "preset": preset or job.request.get("preset")}
    found = {name: value for name, value in told.items() if value is not None}
    return {**found, "reproduces": job.id}


def _source(parts: Parts, job: Job) -> Workflow | None:
    """Return the named workflow that a job's graph was made of, as it is now, if it is there."""
    name = job.request.get("workflow")
    try:
        return parts.workflows.get(name) if isinstance(name, str) else None
    except (errors.WorkflowNotFound, errors.WorkflowBroken, errors.NotReady):
        return None


async def _check_files(parts: Parts, job: Job, workflow: graph.Graph) -> None:
    """Refuse a graph that names files which were made for the job, and are gone."""
    own = set(job.inputs)
    refs = [ref for ref in graph.media_refs(workflow) if ref.value in own]
    refs += [
        graph.InputRef(node_id, "directory", entry)
        for node_id, entries in graph.directory_lists(workflow)
        for entry in entries
        if entry in own
    ]
    # To admit them is to use them: they stay for a while.
    gone = [ref for ref in refs if not await _is_there(parts, ref)]
    if gone:
        names = [f"{ref.node_id}.{ref.name}" for ref in gone]
        raise errors.InvalidInput(
            f"The file that {', '.join(dict.fromkeys(names))} held is not kept any more.",
            hint=f'Give it again: {{"overrides": {{"{names[0]}": <URL or base64>}}}}.',
            location=f"overrides.{names[0]}",
        )


async def _is_there(parts: Parts, ref: graph.InputRef) -> bool:
    try:
        await parts.inputs.admit(ref.value, location=ref.location)
    except errors.InvalidInput:
        return False
    return True
