"""The journey of one job, top to bottom: prepare, bind, execute, collect, deliver."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway import clock, errors, graph, metrics
from gateway.comfy.attempt import Execution
from gateway.comfy.observer import FileRef, Observer
from gateway.comfy.recovery import Recovery
from gateway.delivery import Delivery
from gateway.jobs.events import Events
from gateway.jobs.job import Job, ModelInput, Outcome, State
from gateway.jobs.vault import Vault
from gateway.media import outputs
from gateway.narration import Narration, Narrator
from gateway.preparation import Preparation
from gateway.sidecars import Sidecars
from gateway.webhooks.system import Silence

_RECENT_S = 86400.0


@dataclass(frozen=True)
class Prepared:
    """A graph whose inputs lie in ComfyUI's input folder; `seconds` that took."""

    workflow: graph.Graph
    seconds: float


@dataclass(frozen=True)
class Callbacks:
    """What a run tells its worker on the way."""

    #: {progress, prompt_id, started_at}, often; may be lost.
    progress: Callable[[dict[str, Any]], None]
    #: The graph goes to ComfyUI now: from here on ComfyUI counts it.
    sending: Callable[[], None]
    #: The GPU is done with it; what remains may take a while.
    delivering: Callable[[Outcome], Awaitable[None]]


class Runner:
    """Runs jobs; owns none of them."""

    def __init__(
        self,
        recovery: Recovery,
        preparation: Preparation,
        delivery: Delivery,
        vault: Vault,
        folders: outputs.Folders,
        *,
        prepend_filenames: bool,
    ) -> None:
        self._comfy = recovery.comfy
        self._recovery = recovery
        self._preparation = preparation
        self._delivery = delivery
        self._vault = vault
        self._folders = folders
        self._prepend = prepend_filenames
        #: Who tells of jobs while they run.
        self.narration = Narration(Events(), Silence())
        #: Who knows what made an output.
        self.sidecars = Sidecars()
        #: ComfyUI is done with a job, however that went.
        self.on_executed: Callable[[], None] = lambda: None

    async def run(self, job: Job, preparing: Awaitable[Prepared], callbacks: Callbacks) -> Outcome:
        """Return how the job ended well; every other end is an error of errors.py."""
        narrator = self.narration.of(job, callbacks.progress, self._entry)
        try:
            outcome = await self._run(job, preparing, callbacks, narrator)
        finally:
            narrator.close()
        narrator.delivered(outcome.result["outputs"])
        return outcome

    async def _run(
        self, job: Job, preparing: Awaitable[Prepared], callbacks: Callbacks, narrator: Narrator
    ) -> Outcome:
        if job.result:
            # The GPU had done its part before the gateway was stopped: nothing is fetched for it.
            await preparing
            return await self._deliver(job, _resumed(job), clock.now(), callbacks)
        claimed_at = clock.now()
        metrics.queue_seconds.observe(claimed_at - job.created_at)
        prepared = await preparing
        # While it waited for its turn, weights may have been evicted: now they stay.
        given = self._vault.of(job).credentials
        names = await self._preparation.secure(job.models, given, job.id)
        workflow = self._bind(job, graph.with_inputs(prepared.workflow, names))
        sent_at = clock.now()
        try:
            execution = await self._execute(job, workflow, callbacks, narrator)
        except errors.EngineLost as lost:
            if lost.started:
                await self.discard_cut_off([job])
            raise
        finally:
            # What is delivered, or goes back to the queue, keeps no other job from its weights.
            self._preparation.release_weights(job.id)
            self.on_executed()
        done_at = clock.now()
        metrics.execute_seconds.observe(done_at - sent_at)
        try:
            collected = await asyncio.to_thread(self._collected, job, workflow, execution)
        except errors.OutputMissing:
            await self.discard_leftovers(execution.files)
            raise
        narrator.collected(execution.files, collected.result["outputs"])
        collected.result["stats"] |= {
            "queue_time": _ms(max(0.0, claimed_at - job.created_at)),
            "preprocess_time": _ms(prepared.seconds),
            "comfy_round_trip_time": _ms(done_at - sent_at),
        }
        return await self._deliver(job, collected, done_at, callbacks)

    async def _deliver(
        self, job: Job, collected: Outcome, done_at: float, callbacks: Callbacks
    ) -> Outcome:
        try:
            return await self._delivery.run(job, collected, done_at, callbacks.delivering)
        finally:
            self.sidecars.run_over(collected.result)

    async def prepare(self, job: Job) -> Prepared:
        """Fetch what the graph names by URL, all at a time."""
        if not job.needs_fetch or job.result:
            return Prepared(job.graph, 0.0)
        began = time.monotonic()
        given = self._vault.of(job).credentials
        if not self._preparation.is_at_hand(job.graph, job.models, given):
            self.narration.fetching(job)
        workflow = await self._preparation.run(job.graph, job.models, given, job.id)
        seconds = time.monotonic() - began
        metrics.prepare_seconds.observe(seconds)
        return Prepared(workflow, seconds)

    def is_at_hand(self, job: Job) -> bool:
        """Whether a job has nothing to fetch any more; raises CredentialsLost."""
        if job.result:
            return True
        given = self._vault.of(job).credentials
        return self._preparation.is_at_hand(job.graph, job.models, given)

    def _bind(self, job: Job, workflow: graph.Graph) -> graph.Graph:
        own = graph.with_prefixes(workflow, job.id, prepend=self._prepend)
        return graph.made_unique(own, job.id, self._comfy.catalog.output_classes)

    async def _execute(
        self, job: Job, workflow: graph.Graph, callbacks: Callbacks, observer: Observer
    ) -> Execution:
        extra_data = self._vault.of(job).extra_data

        async def once(given: graph.Graph, prompt_id: str) -> Execution:
            callbacks.progress({"prompt_id": prompt_id})
            callbacks.sending()
            observer.on_run()
            return await self._comfy.execute(given, extra_data, observer, prompt_id)

        execution = await self._recovery.run(workflow, once)
        if not _is_repeated(execution, self._comfy.catalog.output_nodes(workflow)):
            return execution
        # An earlier job had this id: what ComfyUI kept of it names files that were deleted with it.
        await self.discard_leftovers(execution.files)
        anew = graph.run_anew(workflow, str(uuid.uuid4()), self._comfy.catalog.output_classes)
        return await self._recovery.run(anew, once)

    def _collected(self, job: Job, workflow: graph.Graph, execution: Execution) -> Outcome:
        """Return what a run has made; it touches the disk, all at once."""
        outcome = self._outcome(job, workflow, execution)
        if sources := graph.replaced_urls(job.graph, workflow):
            outcome.result["sources"] = sources
        outcome.result.update(self.sidecars.origin(job, workflow, outcome.result["outputs"]))
        return self._delivery.accompanied(job, outcome)

    def _outcome(self, job: Job, workflow: graph.Graph, execution: Execution) -> Outcome:
        duration = execution.end - execution.start
        starts = {node: {"start": at} for node, at in execution.node_starts.items()}
        result = {
            "outputs": [self._entry(index, ref) for index, ref in enumerate(execution.files)],
            "texts": [{"node_id": node, "text": text} for node, text in execution.texts],
            "execution_cached": execution.cached,
            "node_errors": execution.node_errors,
            "stats": {
                "comfy_execution": {
                    "start": execution.start,
                    "end": execution.end,
                    "duration": duration,
                    "nodes": starts,
                },
            },
        }
        warnings = [*job.warnings, *execution.warnings, *_partial(execution.node_errors)]
        return Outcome(
            State.DELIVERING,
            workflow,
            result,
            warnings,
            execution.prompt_id,
            execution.start / 1000,
        )

    def _entry(self, index: int | None, ref: FileRef) -> dict[str, Any]:
        """Describe an output, without an index when it has none yet; it touches the disk."""
        path = self._locate(ref)
        return {
            **({} if index is None else {"index": index}),
            "node_id": ref.node_id,
            "filename": path.name,
            "type": ref.type,
            "path": str(path),
            **vars(outputs.described(path)),
        }

    async def discard(self, job: Job) -> None:
        """Delete the files of a job that is over; what was there before it stays."""
        entries = [
            entry for entry in job.result.get("outputs", []) if entry["type"] in ("output", "temp")
        ]
        names = ("path", "source", "sidecar")
        paths = [Path(entry[name]) for entry in entries for name in names if entry.get(name)]
        await asyncio.to_thread(self._remove, paths, job.id, job.created_at)

    def _remove(self, paths: list[Path], job_id: str, since: float) -> None:
        # A node may report a file that was there before: only what is the job's own goes.
        own = [path for path in paths if outputs.is_of(path, job_id, since)]
        outputs.remove(own, [*self._folders.roots, self._delivery.converted])

    async def discard_leftovers(self, files: list[FileRef]) -> None:
        """Delete what a run wrote that failed or was abandoned."""
        for ref in files:
            with contextlib.suppress(errors.OutputMissing):
                path = await asyncio.to_thread(self._locate, ref)
                if ref.type in ("output", "temp"):
                    await asyncio.to_thread(self._remove, [path], "\0", clock.now() - _RECENT_S)

    async def discard_cut_off(self, jobs: Iterable[Job]) -> None:
        """Delete what was written for jobs by a ComfyUI that is gone, and that nobody heard of."""
        unheard = [self._bind(job, job.graph) for job in jobs if not job.result]
        named = [prefix for workflow in unheard for prefix in graph.prefixes(workflow)]
        await asyncio.to_thread(self._remove_saved, named)

    def _remove_saved(self, prefixes: list[str]) -> None:
        roots = self._folders.roots
        for root in roots:
            for prefix in prefixes:
                # What cannot be deleted is no reason to run nothing.
                with contextlib.suppress(OSError):
                    outputs.remove(outputs.saved_under(root, prefix), roots)

    def _locate(self, ref: FileRef) -> Path:
        return outputs.locate(self._folders, ref.filename, ref.subfolder, ref.type)

    async def warm_up(self, workflow: graph.Graph, models: list[ModelInput]) -> None:
        """Run a graph whose outputs nobody wants; raises as `run` does."""
        job = Job(
            id=f"warmup-{uuid.uuid4().hex[:12]}",
            request={"metadata": False},
            graph=workflow,
            models=models,
            fingerprint="",
            created_at=clock.now(),
        )
        try:
            await self._warm_up(job)
        finally:
            self._preparation.release(job.id)

    async def _warm_up(self, job: Job) -> None:
        prepared = await self._preparation.run(job.graph, job.models, [], job.id)
        names = await self._preparation.secure(job.models, [], job.id)
        workflow = self._bind(job, graph.with_inputs(prepared, names))
        callbacks = Callbacks(lambda _: None, lambda: None, _nothing)
        execution = await self._execute(job, workflow, callbacks, Observer())
        made = await asyncio.to_thread(self._collected, job, workflow, execution)
        await self.discard(replace(job, result=made.result))


def _is_repeated(execution: Execution, ends: frozenset[str]) -> bool:
    """Whether ComfyUI reported files of an end of the graph that it has not run."""
    return any(ref.node_id in ends and ref.node_id in execution.cached for ref in execution.files)


def _resumed(job: Job) -> Outcome:
    return Outcome(
        State.DELIVERING, job.graph, job.result, job.warnings, job.prompt_id, job.started_at
    )


def _partial(node_errors: dict[str, Any]) -> list[str]:
    if not node_errors:
        return []
    names = ", ".join(node_errors)
    return [f"Some outputs were invalid and did not run: see node_errors of {names}."]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


async def _nothing(_: Outcome) -> None:
    return None
