"""Outputs on their way to where the caller wants them: streamed, in parallel, tried again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gateway import errors, metrics
from gateway.media import destinations, sidecar_files
from gateway.media.destinations import Destination
from gateway.schemas import Auth, Credential
from gateway.storage import credentials
from gateway.storage.failures import TransferFailed
from gateway.storage.pace import Patience
from gateway.storage.provider import Provider

#: Files of one job that are sent at a time.
PARALLEL = 4

_PATIENCE = Patience(wait_initial=0.5, wait_max=10.0)


class Providers(Protocol):
    """Who writes where."""

    def of(self, url: str) -> Provider:
        """Return the provider of a URL."""
        ...

    def check(self, url: str, location: str | None = None) -> None:
        """Raise InvalidInput, InputNotFetched for what can be told without asking anyone."""
        ...


@runtime_checkable
class Configurable(Protocol):
    """A storage that writes with the operator's settings, or the caller's credentials."""

    def is_configured(self, url: str, auth: Auth | None) -> str | None:
        """Return what is missing, as a sentence, or None."""
        ...


@runtime_checkable
class Presigning(Protocol):
    """A storage that gives out links which live for a while."""

    async def presign(self, url: str, auth: Auth | None, seconds: int) -> str:
        """Return an https link to a file; raises TransferFailed."""
        ...


@dataclass(frozen=True)
class Uploaded:
    """Where the files of one job are now, in the order they were given."""

    urls: list[str]
    #: Links that live for a while, where they were asked for: as good as credentials.
    presigned: list[str] | None
    warnings: list[str]


@dataclass(frozen=True)
class _Sending:
    """One file on its way."""

    path: Path
    name: str
    content_type: str
    size: int
    destination: Destination
    auth: Auth | None
    #: It stands beside an output, and tells what made it.
    is_sidecar: bool = False

    @property
    def url(self) -> str:
        return self.destination.url(self.name)

    @property
    def told(self) -> str:
        return self.destination.told(self.name)


class Uploads:
    """The uploads of this process; to one URL there is one at a time, the latest."""

    def __init__(
        self,
        providers: Providers,
        *,
        notify: Callable[[str, Mapping[str, Any]], None],
        azure_account: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`azure_account` is the URL of the account that blobs are told under."""
        self._providers = providers
        self._notify = notify
        self._azure_account = azure_account
        self._patience = patience or _PATIENCE
        self._flights: dict[str, asyncio.Task[None]] = {}

    def destination(self, fields: Mapping[str, Any]) -> Destination | None:
        """Return where a request's outputs go; None: into its answer."""
        return destinations.of(fields, self._azure_account)

    def check(self, destination: Destination, given: Sequence[Credential]) -> None:
        """Raise DestinationNotConfigured, InvalidRequest for what cannot be uploaded to."""
        url = destination.url("x")
        auth = auth_for(destination, "x", given)
        try:
            self._providers.check(url, destination.location)
            missing = _missing(self._providers.of(url), url, auth)
        except (errors.InvalidInput, errors.InputNotFetched) as refused:
            raise _not_reachable(destination, refused) from None
        if missing:
            raise errors.DestinationNotConfigured(missing, location=destination.location)

    async def upload(
        self,
        destination: Destination,
        entries: Sequence[Mapping[str, Any]],
        given: Sequence[Credential],
    ) -> Uploaded:
        """Send the files of a job; raises UploadFailed, for the first that does not arrive.

        `entries` are outputs: {filename, path, content_type, size, sidecar?}. A sidecar goes
        beside its output; one that does not arrive is a warning.
        """
        names = destinations.names(entry["filename"] for entry in entries)
        files = [
            _Sending(
                Path(entry["path"]),
                name,
                str(entry["content_type"]),
                int(entry["size"]),
                destination,
                auth_for(destination, name, given),
            )
            for entry, name in zip(entries, names, strict=True)
        ]
        sidecars = await asyncio.to_thread(_sidecars, entries, files, given)
        room = asyncio.Semaphore(PARALLEL)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._latest(one, room)) for one in files]
                tasks += [group.create_task(self._beside(one, room)) for one in sidecars]
        except BaseExceptionGroup as failures:
            # One reason is answered: the first that failed, which is what cancelled the others.
            raise failures.exceptions[0] from None
        warnings = [task.result() for task in tasks]
        links, refused = await self._presigned(destination, files)
        told = [warning for warning in (*warnings, refused) if warning is not None]
        return Uploaded([one.told for one in files], links, told)

    async def _beside(self, sidecar: _Sending, room: asyncio.Semaphore) -> str | None:
        """Send a sidecar; return as a warning that it does not arrive."""
        try:
            # That another took its place is told of its output.
            await self._latest(sidecar, room)
        except errors.UploadFailed as failure:
            return failure.message
        return None

    async def _latest(self, file: _Sending, room: asyncio.Semaphore) -> str | None:
        """Send a file unless a later upload to its URL comes; return that as a warning."""
        async with room:
            older = self._flights.get(file.url)
            task = asyncio.create_task(self._after(older, file))
            self._flights[file.url] = task
            try:
                await asyncio.wait({task})
            finally:
                # Our own end is the upload's; it is waited for, as it holds the file open.
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task})
                if self._flights.get(file.url) is task:
                    del self._flights[file.url]
        if task.cancelled():
            return f"{file.name}: a later upload to {file.told} took its place."
        task.result()
        return None

    async def _after(self, older: asyncio.Task[None] | None, file: _Sending) -> None:
        if older is not None:
            await _ended(older)
        provider = self._providers.of(file.url)
        began = time.monotonic()
        try:
            await self._tried(provider, file)
        except TransferFailed as failure:
            raise _failed(file, failure) from None
        except errors.InvalidInput as failure:
            # Such as credentials of a kind that the storage has no use for.
            raise errors.UploadFailed(
                f"{file.name} could not be uploaded to {file.told}: {failure.message}",
                hint=failure.hint,
                url=file.told,
            ) from None
        except OSError as failure:
            raise errors.UploadFailed(
                f"{file.name} could not be read from the disk: {failure.strerror or failure}.",
                url=file.told,
            ) from failure
        metrics.upload_bytes_total.labels(provider.name).inc(file.size)
        if file.is_sidecar:
            return
        data = {
            "url": file.told,
            "local_path": str(file.path),
            "size": file.size,
            "duration": round(time.monotonic() - began, 3),
        }
        self._notify("file_uploaded", data)

    async def _tried(self, provider: Provider, file: _Sending) -> None:
        async for attempt in self._patience.tries(_pause):
            with attempt:
                await provider.write(file.url, file.auth, file.path, file.content_type)

    async def _presigned(
        self, destination: Destination, files: Sequence[_Sending]
    ) -> tuple[list[str] | None, str | None]:
        """Return links where they were asked for, and a warning where there can be none."""
        seconds = destination.presign_s
        if seconds is None:
            return None, None
        links = []
        for file in files:
            provider = self._providers.of(file.url)
            if not isinstance(provider, Presigning):
                return None, f"{file.told} takes no presign_s."
            try:
                links.append(await provider.presign(file.url, file.auth, seconds))
            except TransferFailed as failure:
                # The files are where they were wanted: a link less does not undo that.
                return None, f"No link to {file.told} could be made: {failure.verdict.reason}."
        return links, None


def _sidecars(
    entries: Sequence[Mapping[str, Any]], files: Sequence[_Sending], given: Sequence[Credential]
) -> list[_Sending]:
    """Return the sidecars of outputs, which lie beside them there too; it touches the disk."""
    found = []
    names = destinations.sidecar_names([file.name for file in files])
    for entry, file, name in zip(entries, files, names, strict=True):
        path = entry.get("sidecar")
        if path is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            size, kind = Path(path).stat().st_size, sidecar_files.CONTENT_TYPE
            auth = auth_for(file.destination, name, given)
            sending = _Sending(Path(path), name, kind, size, file.destination, auth, True)
            found.append(sending)
    return found


def _missing(provider: Provider, url: str, auth: Auth | None) -> str | None:
    return provider.is_configured(url, auth) if isinstance(provider, Configurable) else None


async def _ended(older: asyncio.Task[None]) -> None:
    """Cancel an upload; never return before it is over, or two would write at a time."""
    older.cancel()
    try:
        await asyncio.wait({older})
    except asyncio.CancelledError:
        await asyncio.wait({older})
        raise


def auth_for(destination: Destination, name: str, given: Sequence[Credential]) -> Auth | None:
    """Return a request's own credentials for a file; None: those of the settings are used."""
    found = credentials.matching(given, destination.url(name))
    return found or credentials.matching(given, destination.told(name))


def _pause(failure: Exception) -> bool | float:
    if not isinstance(failure, TransferFailed) or not failure.verdict.retryable:
        return False
    return failure.verdict.retry_after or True


def _failed(file: _Sending, failure: TransferFailed) -> errors.UploadFailed:
    verdict = failure.verdict
    return errors.UploadFailed(
        f"{file.name} could not be uploaded to {file.told}: {verdict.reason}.",
        hint=verdict.hint,
        url=file.told,
        reason=verdict.reason,
        fault=verdict.fault,
    )


def _not_reachable(destination: Destination, refused: errors.GatewayError) -> errors.InvalidRequest:
    reason = refused.details.get("reason")
    told = destination.told("")
    return errors.InvalidRequest(
        f"{told} cannot be uploaded to: {reason}." if reason else refused.message,
        location=destination.location,
        hint=refused.hint,
    )
