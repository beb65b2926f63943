"""One file on its way into the cache: room, bytes, proof, name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from gateway import errors, metrics
from gateway.log import logger
from gateway.models import names, record, verify
from gateway.models.admission import invalid
from gateway.models.downloads import Board, Download
from gateway.models.index import File
from gateway.models.record import Record
from gateway.models.room import GaveWay, Room
from gateway.models.seats import Seat
from gateway.models.shelf import Shelf
from gateway.models.verify import Flaw
from gateway.models.wanted import Wanted
from gateway.storage import address, failures
from gateway.storage.claim import Held
from gateway.storage.download import Arrival, Order, discard
from gateway.storage.failures import ClaimLost, TransferFailed
from gateway.storage.providers import Providers

Notify = Callable[[str, dict[str, Any]], None]

_UNWANTED = "Nobody waits for it any more; it {} when it is asked for again."


class Downloads(Protocol):
    """What brings bytes into a part file."""

    async def run(self, order: Order) -> Arrival:
        """Return what arrived; raises TransferFailed, OSError, and what the order raises."""
        ...


class Fetch:
    """Fetches for the cache; one call for each file at a time, under its claim."""

    def __init__(
        self,
        shelf: Shelf,
        room: Room,
        board: Board,
        downloader: Downloads,
        providers: Providers,
        notify: Notify,
    ) -> None:
        self._shelf = shelf
        self._room = room
        self._board = board
        self._downloader = downloader
        self._providers = providers
        self._notify = notify

    async def run(self, wanted: Wanted, held: Held, *, needs_credentials: bool) -> File:
        """Return the file, which is in the cache now.

        `held` is the claim of its stem.

        Raises ModelNotFetched, ModelInvalid, ModelTooLarge, StorageFull, InvalidInput, ClaimLost.
        """
        metrics.cache_misses_total.inc()
        stem, shown = names.stem(wanted.url), address.shown(wanted.url)
        name = stem + names.extension_of_url(wanted.url)
        download = self._board.begin(shown, name)
        metrics.downloads_in_flight.inc()
        failure: errors.GatewayError | None = None
        try:
            async with self._room.seat(stem, shown, held) as seat:
                arrival, sha256 = await self._proven(seat, wanted, download)
                note = Record(
                    name=download.filename,
                    url=shown,
                    size=arrival.size,
                    sha256=sha256,
                    version=arrival.version,
                    content_type=arrival.content_type,
                    needs_credentials=needs_credentials,
                    fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
                )
                provider = self._providers.of(wanted.url).name
                file = await self._placed(seat, arrival.path, note)
                self._arrived_whole(file, download, provider)
                return file
        except (TransferFailed, Flaw, OSError, errors.GatewayError) as cause:
            if await _is_lost(held):
                # What it means is for who has taken over to find out.
                raise ClaimLost from cause
            failure = self._told(cause, wanted)
            await self._clean(stem, cause, failure)
            raise failure from (cause if cause is not failure else None)
        finally:
            metrics.downloads_in_flight.dec()
            self._close(stem, download, failure)

    async def _proven(
        self, seat: Seat, wanted: Wanted, download: Download
    ) -> tuple[Arrival, str | None]:
        """Return a whole part, and its sha256 where anyone told it. Raises Flaw."""
        arrival = await self._arrived(seat, wanted, download)
        download.state = "verifying"
        download.filename = seat.stem + _extension(wanted, arrival)
        suffix = download.filename[names.STEM_LENGTH :]
        told = [one.lower() for one in (wanted.sha256, arrival.sha256) if one]
        sha256 = told[0] if told else None
        # That it calls itself a page is no reason to take one: so does a login.
        is_page = suffix in verify.PAGES and not _named(wanted, arrival)
        judged = "" if is_page else suffix
        await verify.checked(arrival.path, judged, arrival.size, sha256)
        if len(set(told)) > 1:
            raise Flaw(f"sha256 {told[1]}, as its host says", f"sha256 {told[0]}")
        return arrival, sha256

    async def _placed(self, seat: Seat, part: Path, note: Record) -> File:
        file = await self._room.publish(
            seat, lambda: self._shelf.place(part, note.name, note, time.time())
        )
        await asyncio.to_thread(discard, self._shelf.layout.partial, seat.stem)
        return file

    async def _arrived(self, seat: Seat, wanted: Wanted, download: Download) -> Arrival:
        order = Order(
            url=wanted.url,
            auth=wanted.auth,
            folder=self._shelf.layout.partial,
            stem=seat.stem,
            reserve=lambda total: self._room.reserve(seat, total),
            tell=download.progress,
            check=seat.held.check,
        )
        while True:
            try:
                with structlog.contextvars.bound_contextvars(url=download.url):
                    return await self._downloader.run(order)
            except GaveWay:
                download.state = "wanted"
                await self._room.give_up(seat)

    def _arrived_whole(self, file: File, download: Download, provider: str) -> None:
        download.end()
        metrics.download_bytes_total.labels(provider).inc(download.arrived)
        metrics.download_seconds.labels(provider).observe(download.duration)
        data = {
            "url": download.url,
            "local_path": str(self._shelf.layout.cache / file.name),
            "size": file.size,
            "duration": round(download.duration, 3),
        }
        logger.info("model fetched", url=download.url, size=file.size, seconds=data["duration"])
        self._notify("file_downloaded", data)

    async def _clean(self, stem: str, cause: Exception, failure: errors.GatewayError) -> None:
        """Remove a part that is no use: not what was wanted, or what filled the disk."""
        if isinstance(cause, Flaw) or isinstance(
            failure, errors.ModelTooLarge | errors.StorageFull
        ):
            layout = self._shelf.layout
            await asyncio.to_thread(discard, layout.partial, stem)
            await asyncio.to_thread(record.remove, layout.records, stem)

    def _told(self, cause: Exception, wanted: Wanted) -> errors.GatewayError:
        if isinstance(cause, TransferFailed):
            return cause.told(address.shown(wanted.url), wanted.location, errors.ModelNotFetched)
        if isinstance(cause, Flaw):
            return invalid(wanted, cause)
        if isinstance(cause, OSError):
            return disk_told(cause, wanted)
        assert isinstance(cause, errors.GatewayError)
        return cause

    def _close(self, stem: str, download: Download, failure: errors.GatewayError | None) -> None:
        if failure is not None:
            metrics.download_failures_total.labels(failure.code).inc()
            logger.warning("model not fetched", url=download.url, reason=failure.message)
        if download.ended is None:
            download.end(failure.message if failure else self._unwanted(stem))
        self._board.finish(download)

    def _unwanted(self, stem: str) -> str:
        # On the loop: it is ended without a pause, and one look costs little.
        is_kept = self._shelf.layout.part(stem).with_suffix(".json").exists()
        return _UNWANTED.format("goes on where it stopped" if is_kept else "begins again")


async def _is_lost(held: Held) -> bool:
    try:
        return not await held.is_mine()
    except OSError:
        # The disk fails altogether, which is to be told.
        return held.is_lost


def disk_told(failure: OSError, wanted: Wanted) -> errors.GatewayError:
    """Return what a failure of the disk means to the caller, who is told no path of it."""
    full = failures.disk_failure(failure, "CACHE_DIR")
    if full is not None:
        return full
    url = address.shown(wanted.url)
    reason = f"CACHE_DIR cannot be written ({failure.strerror or type(failure).__name__})"
    return errors.ModelNotFetched(
        f"{url} could not be fetched: {reason}. The fault lies with the gateway's disk.",
        hint="CACHE_DIR must be a folder that the gateway may write to.",
        location=wanted.location,
        url=url,
        reason=reason,
        fault="gateway",
    )


def _extension(wanted: Wanted, arrival: Arrival) -> str:
    found = names.extension(wanted.url, arrival.filename, arrival.content_type)
    if not _named(wanted, arrival) and names.is_vague(arrival.content_type):
        # Such a type says that these are bytes; the bytes say more.
        return verify.sniffed(arrival.head) or found
    return found


def _named(wanted: Wanted, arrival: Arrival) -> str:
    """Return the extension that the URL or the host's name for the file has."""
    return names.extension(wanted.url, arrival.filename, None)
