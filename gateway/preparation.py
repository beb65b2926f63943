"""What a job names by URL becomes files before its turn: inputs and weights, all at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from gateway import graph
from gateway.jobs.job import ModelInput
from gateway.jobs.store import Store
from gateway.media.inputs import Admitted, Inputs, LocalInput, RemoteInput
from gateway.models.library import Library, Want
from gateway.schemas import Auth, Credential
from gateway.storage import credentials

#: Other values for inputs: (node id, input) -> value.
Edits = dict[tuple[str, str], Any]


class Preparation:
    """Fetches beside the job that is running; `holder` is the job's id."""

    def __init__(self, inputs: Inputs, library: Library, input_folder: Path) -> None:
        self._inputs = inputs
        self._library = library
        self._input_folder = input_folder

    async def run(
        self,
        workflow: graph.Graph,
        models: Sequence[ModelInput],
        given: list[Credential],
        holder: str,
    ) -> graph.Graph:
        """Return the graph with names where URLs were.

        Until `release`, inputs stay, and weights stay while there is room: see `secure`.
        """
        try:
            weights, files = await _together(
                self._brought(models, given, holder, is_ahead=True),
                self._fetch_inputs(workflow, models, given, holder),
            )
        finally:
            self._library.loosen(holder)
        return graph.with_inputs(workflow, weights | files)

    def is_at_hand(
        self, workflow: graph.Graph, models: Sequence[ModelInput], given: list[Credential]
    ) -> bool:
        """Whether there is nothing to wait for: weights alone, all of them in the cache."""
        weights = {(one["node_id"], one["name"]) for one in models}
        is_listed = any(True for _ in graph.directory_lists(workflow))
        if is_listed or any(
            graph.is_url(ref.value) and (ref.node_id, ref.name) not in weights
            for ref in graph.media_refs(workflow)
        ):
            return False
        return all(map(self._library.is_at_hand, _wants(models, given)))

    async def secure(
        self, models: Sequence[ModelInput], given: list[Credential], holder: str
    ) -> Edits:
        """Return the names of the weights, which stay until `release`.

        For a job whose turn has come: what was evicted while it waited is fetched again.
        """
        return await self._brought(models, given, holder, is_ahead=False)

    async def _brought(
        self,
        models: Sequence[ModelInput],
        given: list[Credential],
        holder: str,
        *,
        is_ahead: bool,
    ) -> Edits:
        if not models:
            return {}
        wants = _wants(models, given)
        brought = await self._library.bring(wants, holder, is_ahead=is_ahead)
        return {
            (one["node_id"], one["name"]): found.name
            for one, found in zip(models, brought, strict=True)
        }

    def release_weights(self, holder: str) -> None:
        """Let go of the weights: ComfyUI does not need them now."""
        self._library.release(holder)

    def release(self, holder: str) -> None:
        """Let go of what the job needed."""
        self._inputs.release(holder)
        self._library.release(holder)

    async def _fetch_inputs(
        self,
        workflow: graph.Graph,
        models: Sequence[ModelInput],
        given: list[Credential],
        holder: str,
    ) -> Edits:
        def auth_of(url: str) -> Auth | None:
            return credentials.matching(given, url)

        async def file(ref: graph.InputRef) -> tuple[tuple[str, str], str]:
            name = await self._inputs.fetch(
                ref.value, auth_of(ref.value), location=ref.location, job_id=holder
            )
            return (ref.node_id, ref.name), name

        async def listed(node_id: str, entries: list[str]) -> tuple[tuple[str, str], str]:
            found: list[Admitted] = [
                RemoteInput(entry) if graph.is_url(entry) else LocalInput(entry, created=True)
                for entry in entries
            ]
            location = graph.directory_location(node_id)
            name = await self._inputs.fetch_directory(
                found, auth_of, location=location, job_id=holder
            )
            wants_path = graph.FOLDER_LOADERS.get(workflow[node_id]["class_type"], False)
            return (node_id, "directory"), str(self._input_folder / name) if wants_path else name

        weights = {(one["node_id"], one["name"]) for one in models}
        work = [
            file(ref)
            for ref in graph.media_refs(workflow)
            if graph.is_url(ref.value) and (ref.node_id, ref.name) not in weights
        ]
        work += [listed(node_id, entries) for node_id, entries in graph.directory_lists(workflow)]
        return dict(await _together(*work))


def _wants(models: Sequence[ModelInput], given: list[Credential]) -> list[Want]:
    return [
        Want(
            url=one["url"],
            folder=one["folder"],
            auth=credentials.matching(given, one["url"]),
            location=graph.InputRef(one["node_id"], one["name"], one["url"]).location,
        )
        for one in models
    ]


async def _together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Return all results; the first failure cancels the others, and is the one that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def hold_inputs(store: Store, inputs: Inputs) -> None:
    """Keep the files that waiting jobs of an earlier run need."""
    cursor = None
    while True:
        holdings, cursor = await store.holdings(cursor)
        for holding in holdings:
            inputs.hold(holding.job_id, holding.names)
        if cursor is None:
            return
