"""Whether a file that lies in the cache may be served: it is verified before its first use."""

from __future__ import annotations

import asyncio
import dataclasses

from gateway import errors
from gateway.log import logger
from gateway.models import names, record, verify
from gateway.models.access import Access
from gateway.models.decision import human
from gateway.models.index import File, Index
from gateway.models.layout import Layout
from gateway.models.record import Record
from gateway.models.room import Room
from gateway.models.shelf import Shelf
from gateway.models.verify import Flaw
from gateway.models.wanted import Wanted
from gateway.storage import address
from gateway.storage.provider import Stat


class Admission:
    """Takes in what other processes, earlier runs and other sidecars left in the folder."""

    def __init__(self, shelf: Shelf, index: Index, room: Room, access: Access) -> None:
        self._shelf = shelf
        self._index = index
        self._room = room
        self._access = access

    @property
    def _layout(self) -> Layout:
        return self._shelf.layout

    async def find(self, stem: str, wanted: Wanted) -> File | None:
        """Return the file of a stem, fit to be served; None when there is none.

        Raises ModelInvalid when it has another sha256 than is wanted, CredentialsRefused,
        ModelNotFetched, OSError.
        """
        file = await self._look(stem)
        if file is None:
            return None
        if not file.is_settled:
            await self._settle(file, wanted)
        if not file.is_settled:
            return None
        if wanted.sha256 is not None:
            await self._check_sha256(file, wanted, wanted.sha256)
        return file

    async def _look(self, stem: str) -> File | None:
        known = self._index.of_stem(stem)
        if known is not None and known.is_doomed:
            await self._room.quiet()
            known = self._index.of_stem(stem)
        name = known.name if known else await self._recorded_name(stem)
        if name is None:
            return None
        now = await asyncio.to_thread(self._shelf.seen, name)
        if now is None:
            self._index.forget(name)
            return None
        if known is not None and (known.size, known.inode) == (now.size, now.inode):
            return known
        # Another process has brought it, or brought it again.
        self._index.add(now)
        return now

    async def _recorded_name(self, stem: str) -> str | None:
        found = await asyncio.to_thread(record.read, self._layout.records, stem)
        is_there = found is not None and found.verified and names.stem_of(found.name) == stem
        return found.name if found and is_there else None

    async def _settle(self, file: File, wanted: Wanted) -> None:
        """Make a file fit to be served, or remove it when it is not whole."""
        found = await asyncio.to_thread(record.read, self._layout.records, file.stem)
        if found and found.verified and (found.name, found.size) == (file.name, file.size):
            file.record, file.is_settled = found, True
            return
        try:
            await self._adopt(file, wanted)
        except Flaw as flaw:
            logger.warning(
                "a file of the cache is not whole, and is fetched again",
                name=file.name,
                reason=str(flaw),
            )
            await self._room.remove([file])

    async def _adopt(self, file: File, wanted: Wanted) -> None:
        """Verify what another sidecar left. Raises Flaw, CredentialsRefused, ModelNotFetched."""
        path = self._layout.cache / file.name
        is_proven = await verify.checked(path, path.suffix, None, wanted.sha256)
        told = await self._told(file.stem, wanted, is_proven=is_proven)
        if told is not None:
            if told.size is None and not is_proven:
                raise Flaw("a file whose size its source tells", f"{human(file.size)}, unproven")
            sha256 = told.sha256 if wanted.sha256 is None else None
            await verify.checked(path, path.suffix, told.size, sha256)
        known_sha256 = wanted.sha256 or (told.sha256 if told else None)
        file.record = Record(
            name=file.name,
            url=address.shown(wanted.url),
            size=file.size,
            sha256=known_sha256.lower() if known_sha256 else None,
            version=told.version if told else None,
            content_type=told.content_type if told else None,
            needs_credentials=told is not None and wanted.secret is not None,
        )
        file.is_settled = True
        if told is not None:
            self._access.note_accepted(file.stem, wanted)
            await self._write(file)

    async def _told(self, stem: str, wanted: Wanted, *, is_proven: bool) -> Stat | None:
        """Return what the source says; None when it cannot be asked, and need not be."""
        try:
            return await self._access.ask(stem, wanted)
        except errors.ModelNotFetched as failure:
            if is_proven:
                return None
            failure.hint = (
                "The cache holds a file of this URL that was not fetched by this gateway, and "
                "only its source could tell whether it is whole. Try again when it answers."
            )
            raise

    async def _check_sha256(self, file: File, wanted: Wanted, expected: str) -> None:
        assert file.record is not None
        known = file.record.sha256
        if known is None:
            path = self._layout.cache / file.name
            known = await verify.hashed(path)
            file.record = dataclasses.replace(file.record, sha256=known)
            await self._write(file)
        if known != expected.lower():
            raise invalid(
                wanted,
                Flaw(
                    f"sha256 {expected.lower()}",
                    f"sha256 {known} in the cache",
                    f"If the file has changed at its source, DELETE /cache/{file.name} first.",
                ),
            )

    async def _write(self, file: File) -> None:
        assert file.record is not None
        await asyncio.to_thread(record.write, self._layout.records, file.stem, file.record)


def invalid(wanted: Wanted, flaw: Flaw) -> errors.ModelInvalid:
    """Return a flaw as the caller is told."""
    url = address.shown(wanted.url)
    return errors.ModelInvalid(
        f"{url} is not the model it was said to be: expected {flaw.expected}, found {flaw.found}.",
        hint=flaw.hint,
        location=wanted.location,
        url=url,
        expected=flaw.expected,
        found=flaw.found,
    )
