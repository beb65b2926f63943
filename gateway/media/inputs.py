"""Inputs on their way in: URLs and base64 become files of ComfyUI's input folder."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gateway import errors, salt
from gateway.config import Settings
from gateway.media import encoded, names, sniff
from gateway.media.checks import Limits, check_arrival, check_family, check_pixels
from gateway.media.folders import FolderMaker
from gateway.media.ledger import Ledger
from gateway.schemas import Auth
from gateway.storage import failures
from gateway.storage.fetcher import Fetcher, FetchRequest
from gateway.storage.partfile import PartFile
from gateway.storage.transfer import Arrival

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,15}://")
_NAME_LENGTH = 32


@dataclass(frozen=True)
class RemoteInput:
    """A URL that is to be fetched before the job runs."""

    url: str


@dataclass(frozen=True)
class LocalInput:
    """A file that is there; `created` when it was made from what the caller sent."""

    name: str
    created: bool


Admitted = RemoteInput | LocalInput


class Inputs:
    """The one door of media into ComfyUI's input folder."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        ledger: Ledger,
        fetcher: Fetcher,
        limits: Limits,
        salt: bytes,
    ) -> None:
        """`folders` are those of ComfyUI by kind: input, output, temp."""
        self._folders = folders
        self._folder = folders["input"]
        self._ledger = ledger
        self._fetcher = fetcher
        self._limits = limits
        self._salt = salt
        self._listed = FolderMaker(self._folder, ledger)
        #: The files that would have been made, where none is to be.
        self._rehearsed: dict[str, sniff.MediaType] | None = None

    @classmethod
    async def open(
        cls, settings: Settings, fetcher: Fetcher, clock: Callable[[], float] = time.time
    ) -> Self:
        """Return the inputs as the settings say; what earlier runs left is known again."""
        state = settings.state / "inputs"
        ledger = Ledger(settings.inputs, state / "ledger", settings.input_ttl_s, clock)
        limits = Limits(int(settings.max_input_mb * (1 << 20)), settings.max_pixels)
        folders = {"input": settings.inputs, "output": settings.outputs, "temp": settings.temp}
        await asyncio.to_thread(ledger.load)
        secret = await asyncio.to_thread(salt.read, state / "salt")
        return cls(folders, ledger, fetcher, limits, secret)

    def rehearsing(self) -> Self:
        """Return what admits as this does, and leaves no file behind."""
        found = copy.copy(self)
        found._rehearsed = {}
        return found

    async def admit(self, value: str, *, location: str) -> Admitted:
        """Return what a media string means; base64 is a file from here on.

        Raises InvalidInput, InputTooLarge, TooManyPixels, InputNotFetched, StorageFull.
        """
        if _URL.match(value):
            self._fetcher.check(value, location)
            return RemoteInput(value)
        try:
            return await self._local(value, _field(location))
        except errors.GatewayError as failure:
            failure.location = location
            raise

    async def _local(self, value: str, field: str) -> LocalInput:
        found = encoded.data_url(value)
        if found is not None:
            return await self._decode(found, field, is_declared=True)
        if self._rehearsed is not None and value in self._rehearsed:
            return LocalInput(value, created=True)
        if names.is_plausible(value):
            is_there = await asyncio.to_thread(names.find, self._folders, value)
            if is_there:
                self._ledger.use(value)
                return LocalInput(value, created=False)
        found = encoded.bare(value)
        if found is not None:
            return await self._decode(found, field, is_declared=False)
        raise await asyncio.to_thread(names.refusal, self._folders, value, self._ledger.is_ours)

    async def _decode(self, given: encoded.Encoded, field: str, *, is_declared: bool) -> LocalInput:
        async with PartFile(self._folder) as part:
            try:
                name = await asyncio.to_thread(self._decode_into, part, given, field)
            except encoded.NotBase64:
                what = "The data URL" if is_declared else "The value"
                raise errors.InvalidInput(
                    f"{what} is not valid base64: it has characters that base64 does not have.",
                    hint="Encode the file's bytes with base64, without anything around them.",
                ) from None
            except encoded.UnknownType as failure:
                raise self._limits.unknown(failure.head) from None
            except encoded.TooLong as failure:
                raise self._limits.too_large(failure.size) from None
            except OSError as failure:
                raise failures.disk_failure(failure, "INPUT_DIR") or failure from failure
        return LocalInput(name, created=True)

    def _decode_into(self, part: PartFile, given: encoded.Encoded, field: str) -> str:
        decoded = encoded.decode(given, part, self._limits.input_bytes, self._salt)
        check_family(decoded.kind, field)
        return self._kept(part, decoded)

    def _kept(self, part: PartFile, taken: encoded.Decoded) -> str:
        check_pixels(part.path, taken.kind, self._limits)
        stem = _shortened(taken.digest)
        name = f"{stem}{taken.kind.extension}"
        if self._rehearsed is not None:
            self._rehearsed[name] = taken.kind
            return name
        found = self._ledger.find(stem)
        if found is not None:
            return found
        self._ledger.enter(name)
        part.keep(self._folder / name)
        return name

    async def receive(self, chunks: AsyncIterator[bytes], *, location: str) -> LocalInput:
        """Return the file that arrives in pieces; raises as `admit` does."""
        hashed, head = hashlib.sha256(self._salt), b""
        try:
            async with PartFile(self._folder) as part:
                async for chunk in chunks:
                    hashed.update(chunk)
                    head += chunk[: max(0, sniff.HEAD_BYTES - len(head))]
                    await part.add(chunk)
                    if part.size > self._limits.input_bytes:
                        raise self._limits.too_large(part.size)
                kind = sniff.kind_of(head)
                if kind is None:
                    raise self._limits.unknown(head)
                await asyncio.to_thread(part.flush)
                taken = encoded.Decoded(hashed.digest(), kind, part.size)
                name = await asyncio.to_thread(self._kept, part, taken)
        except errors.GatewayError as failure:
            failure.location = location
            raise
        except OSError as failure:
            raise failures.disk_failure(failure, "INPUT_DIR") or failure from failure
        return LocalInput(name, created=True)

    async def kind_of(self, value: str) -> sniff.MediaType | None:
        """Return the type of a file that was admitted, by its first bytes; None: of no known."""
        if self._rehearsed is not None and value in self._rehearsed:
            return self._rehearsed[value]
        return await asyncio.to_thread(self._kind_of, value)

    def _kind_of(self, value: str) -> sniff.MediaType | None:
        name, folder = names.split_mark(value)
        try:
            with (self._folders[folder] / name).open("rb") as file:
                return sniff.kind_of(file.read(sniff.HEAD_BYTES))
        except OSError:
            return None

    async def fetch(
        self, url: str, auth: Auth | None, *, location: str, job_id: str | None = None
    ) -> str:
        """Return the name of the file that a URL has become; `job_id` holds it at once.

        Raises InputNotFetched, InputTooLarge, InvalidInput, TooManyPixels, StorageFull, Draining.
        """
        stem = self._stem("url", url, "" if auth is None else auth.model_dump_json())
        field = _field(location)

        def name(path: Path, arrival: Arrival) -> str:
            found = stem + check_arrival(path, arrival, field, self._limits)
            self._ledger.enter(found)
            return found

        fetched = await self._fetcher.fetch(
            FetchRequest(
                url=url,
                auth=auth,
                folder=self._folder,
                stem=stem,
                limit_bytes=self._limits.input_bytes,
                name=name,
                present=lambda: self._ledger.find(stem),
                location=location,
            )
        )
        if job_id is not None:
            self._ledger.hold(job_id, [fetched.name])
        return fetched.name

    @contextlib.asynccontextmanager
    async def lent(self, url: str, auth: Auth | None, *, location: str) -> AsyncIterator[Path]:
        """Hold a file with what a URL has, of which nothing is kept; raises as `fetch`."""
        self._fetcher.check(url, location)
        async with self._fetcher.lent(
            url,
            limit_bytes=self._limits.input_bytes,
            auth=auth,
            location=location,
            limit_name="MAX_INPUT_MB",
        ) as path:
            yield path

    async def admit_folder(self, name: str, *, location: str) -> None:
        """Check the name of a folder of pictures; raises InvalidInput."""
        if names.is_plausible(name):
            there = await asyncio.to_thread(names.find, self._folders, name, is_folder=True)
            if there:
                return
        refusal = await asyncio.to_thread(names.refusal, self._folders, name, self._ledger.is_ours)
        refusal.location = location
        raise refusal

    async def admit_directory(self, values: list[str], *, location: str) -> list[Admitted]:
        """Return what each entry of a `directory` list means; raises as `admit`."""
        return [
            await self.admit(value, location=f"{location}.{index}")
            for index, value in enumerate(values)
        ]

    async def fetch_directory(
        self,
        entries: list[Admitted],
        auth_of: Callable[[str], Auth | None],
        *,
        location: str,
        job_id: str | None = None,
    ) -> str:
        """Return the name of a folder with the entries as numbered files, in their order.

        Raises as `fetch`.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._entry(entry, auth_of, f"{location}.{index}"))
                    for index, entry in enumerate(entries)
                ]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found = [task.result() for task in tasks]
        stem = self._stem("folder", *found)
        try:
            name = await asyncio.to_thread(self._listed.make, stem, found)
        except OSError as failure:
            raise failures.disk_failure(failure, "INPUT_DIR") or failure from failure
        if job_id is not None:
            self._ledger.hold(job_id, [name])
        return name

    async def _entry(
        self, entry: Admitted, auth_of: Callable[[str], Auth | None], location: str
    ) -> str:
        if isinstance(entry, LocalInput):
            return entry.name
        return await self.fetch(entry.url, auth_of(entry.url), location=location)

    def hold(self, job_id: str, names: Iterable[str]) -> None:
        """Keep these files until the job releases them."""
        self._ledger.hold(job_id, names)

    def release(self, job_id: str) -> None:
        """Let go of what a job holds."""
        self._ledger.release(job_id)

    def named_in(self, workflow: Mapping[str, Any]) -> list[str]:
        """Return the files of ours that a graph names."""
        return [
            value
            for node in workflow.values()
            for value in node.get("inputs", {}).values()
            if isinstance(value, str) and self._ledger.is_ours(value)
        ]

    async def sweep(self, now: float) -> list[Path]:
        """Remove the files of ours that no job holds and whose time is over."""
        return await asyncio.to_thread(self._ledger.sweep, now)

    def _stem(self, *identity: str) -> str:
        told = "\0".join(identity).encode(errors="surrogatepass")
        return _shortened(hashlib.sha256(self._salt + told).digest())


def _field(location: str) -> str:
    """Return the input that a location names; an entry of a list stands for its list."""
    return next((part for part in reversed(location.split(".")) if not part.isdigit()), "")


def _shortened(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode()[:_NAME_LENGTH]
