"""What a job has made on its way to its caller: converted, uploaded, or just named."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway import clock, errors, metrics
from gateway.jobs import generation
from gateway.jobs.job import Job, Outcome, State
from gateway.jobs.vault import Vault
from gateway.log import logger
from gateway.media import convert, destinations, outputs, sidecar_files
from gateway.media.destinations import Destination
from gateway.media.uploads import Uploads, auth_for
from gateway.schemas import ConvertOutput, Credential

#: So long sidecars of anonymous jobs gather, seconds.
_TOGETHER_S = 0.1

Keep = Callable[[Outcome], Awaitable[None]]


class Delivery:
    """Delivers beside the job that runs next."""

    def __init__(self, uploads: Uploads, vault: Vault, converted: Path) -> None:
        self._uploads = uploads
        self._vault = vault
        #: The folder for converted outputs.
        self.converted = converted
        #: Whose sidecars are written behind their answers.
        self._behind: list[tuple[Job, Outcome]] = []
        self._writing: asyncio.Task[None] | None = None
        self._is_ending = asyncio.Event()

    async def run(self, job: Job, collected: Outcome, done_at: float, keep: Keep) -> Outcome:
        """Return how the job ended; raises UploadFailed, CredentialsLost.

        `keep` stores what there is so far: after a restart, and where an upload fails, it is all
        there is.
        """
        destination = self._uploads.destination(job.request)
        given = self._given(job, destination)
        is_resumed = bool(job.result)
        wish = job.request.get("convert_output")
        if not is_resumed and destination is not None:
            collected.result["needs_credentials"] = self._uses(destination, collected, given)
        if not is_resumed and (wish or destination):
            await keep(collected)
        outcome = await self._converted_of(job, collected, wish)
        if wish or is_resumed:
            outcome = await asyncio.to_thread(self._with_sidecars, job, outcome)
        elif self._is_behind(job):
            outcome = self._with_sidecars_behind(job, outcome)
        now = clock.now()
        metrics.deliver_seconds.observe(now - done_at)
        outcome.result["stats"] |= _times(job, done_at, now, now)
        if destination is None:
            return replace(outcome, state=State.SUCCEEDED)
        if wish:
            await keep(outcome)
        uploaded = await self._uploaded(job, outcome, destination, given)
        uploaded.result["stats"] |= _times(job, done_at, now, clock.now())
        return uploaded

    # With what made it

    def accompanied(self, job: Job, collected: Outcome) -> Outcome:
        """Return outputs with their sidecars beside them, for a thread.

        What is to be converted gets its sidecars later: they are of what is delivered.
        """
        if job.request.get("convert_output") or self._is_behind(job):
            return collected
        return self._with_sidecars(job, collected)

    def _is_behind(self, job: Job) -> bool:
        """Whether the sidecars are written behind the answer.

        Whoever waits for an anonymous job gets the pictures themselves, and not these files.
        """
        return job.is_anonymous and self._uploads.destination(job.request) is None

    def _with_sidecars_behind(self, job: Job, outcome: Outcome) -> Outcome:
        if not generation.is_told(replace(job, result=outcome.result)):
            return outcome
        self._behind.append((job, outcome))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_behind())
        entries = [
            {**entry, "sidecar": str(sidecar_files.path_of(Path(entry["path"])))}
            for entry in outcome.result["outputs"]
        ]
        return replace(outcome, result={**outcome.result, "outputs": entries})

    async def _write_behind(self) -> None:
        """Write what has gathered, all in one go: a thread of its own for each slows the others."""
        while self._behind:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_ending.wait(), _TOGETHER_S)
            jobs, self._behind = self._behind, []
            await asyncio.to_thread(self._write_all, jobs)

    def _write_all(self, jobs: list[tuple[Job, Outcome]]) -> None:
        for job, outcome in jobs:
            written = self._with_sidecars(job, outcome)
            for warning in written.warnings[len(outcome.warnings) :]:
                logger.warning("a sidecar is missing", reason=warning, job_id=job.id)
            for entry in written.result["outputs"]:
                # The files of a job may go as soon as it is answered: this one goes with them.
                if "sidecar" in entry and not Path(entry["path"]).exists():
                    Path(entry["sidecar"]).unlink(missing_ok=True)

    async def finish(self) -> None:
        """Write what is still to be written."""
        self._is_ending.set()
        if self._writing is not None:
            await self._writing

    def _with_sidecars(self, job: Job, outcome: Outcome) -> Outcome:
        told = replace(job, result=outcome.result)
        if not generation.is_told(told):
            return outcome
        warnings: list[str] = []
        urls = self._urls(job, outcome)
        entries = [
            self._with_sidecar(told, entry, url, warnings)
            for entry, url in zip(outcome.result["outputs"], urls, strict=True)
        ]
        return replace(
            outcome,
            result={**outcome.result, "outputs": entries},
            # What was told before a restart is told once.
            warnings=list(dict.fromkeys([*outcome.warnings, *warnings])),
        )

    def _urls(self, job: Job, outcome: Outcome) -> list[str | None]:
        """Return where the outputs will be uploaded to."""
        names = [entry["filename"] for entry in outcome.result["outputs"]]
        destination = self._uploads.destination(job.request)
        if destination is None:
            return [None] * len(names)
        return [destination.told(name) for name in destinations.names(names)]

    def _with_sidecar(
        self, job: Job, entry: dict[str, Any], url: str | None, warnings: list[str]
    ) -> dict[str, Any]:
        path = Path(entry["path"])
        is_ours = entry["type"] in ("output", "temp")
        if not is_ours or not outputs.is_of(path, job.id, job.created_at):
            return entry
        content = generation.sidecar(job, {**entry, "uploaded_to": url})
        try:
            written = sidecar_files.write(path, content)
        except OSError as failure:
            name, reason = sidecar_files.name_of(path.name), failure.strerror or failure
            warnings.append(f"{name} could not be written: {reason}.")
            return entry
        return {**entry, "sidecar": str(written)}

    # Converted

    async def _converted_of(
        self, job: Job, collected: Outcome, wish: dict[str, Any] | None
    ) -> Outcome:
        result = {**collected.result, "stats": dict(collected.result["stats"])}
        if not wish:
            return replace(collected, result=result)
        warnings = list(collected.warnings)
        spec = ConvertOutput.model_validate(wish)
        result["outputs"] = [
            await self._convert(job, entry, spec, warnings) for entry in result["outputs"]
        ]
        # What was told before a restart is told once.
        return replace(collected, result=result, warnings=list(dict.fromkeys(warnings)))

    async def _convert(
        self, job: Job, entry: dict[str, Any], spec: ConvertOutput, warnings: list[str]
    ) -> dict[str, Any]:
        if "source" in entry:
            return entry
        source = Path(entry["path"])
        into = self.converted / job.id / f"{entry['index']}" / f"{source.stem}.{spec.format}"
        done = await convert.convert(source, spec, into)
        if isinstance(done, convert.Kept):
            warnings += [done.reason] if done.reason else []
            return entry
        warnings += done.warnings
        described = await outputs.describe(into)
        return {
            **entry,
            **vars(described),
            "path": str(into),
            "filename": into.name,
            "source": str(source),
        }

    # Uploaded

    def _given(self, job: Job, destination: Destination | None) -> list[Credential]:
        """Return a request's credentials, where they are of use; raises CredentialsLost."""
        if destination is None:
            return []
        if job.result and not job.result.get("needs_credentials", True):
            # Lost they may be, but the settings' own are what is used.
            return []
        return self._vault.of(job).credentials

    def _uses(self, destination: Destination, collected: Outcome, given: list[Credential]) -> bool:
        names = [entry["filename"] for entry in collected.result["outputs"]]
        return any(auth_for(destination, name, given) for name in names)

    async def _uploaded(
        self, job: Job, outcome: Outcome, destination: Destination, given: list[Credential]
    ) -> Outcome:
        entries = outcome.result["outputs"]
        try:
            done = await self._uploads.upload(destination, entries, given)
        except errors.UploadFailed as failure:
            here = f"The outputs can be fetched from /jobs/{job.id} for OUTPUT_TTL_S."
            failure.hint = f"{failure.hint} {here}" if failure.hint else here
            raise
        named = [
            {**entry, "uploaded_to": url} for entry, url in zip(entries, done.urls, strict=True)
        ]
        result = {**outcome.result, "outputs": named}
        if done.presigned is not None:
            result["presigned_urls"] = done.presigned
        warnings = [*outcome.warnings, *done.warnings]
        return replace(outcome, state=State.SUCCEEDED, result=result, warnings=warnings)


def _times(job: Job, done_at: float, converted_at: float, now: float) -> dict[str, float]:
    return {
        "postprocess_time": _ms(converted_at - done_at),
        "upload_time": _ms(now - converted_at),
        "total_time": _ms(now - job.created_at),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
