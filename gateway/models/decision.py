"""Whether a file may have the room it asks for; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway import errors
from gateway.models.eviction import Candidate, Hold, eviction_plan

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@dataclass(frozen=True, kw_only=True)
class Books:
    """How the cache stands when a file asks for room; all in bytes."""

    #: None: unlimited.
    limit: int | None
    #: What counts against the limit, without the file itself.
    occupied: int
    #: What of the file is on the disk already.
    at_hand: int
    #: What the disk has free, less what is promised to others and not yet written.
    free: int
    #: What the same job holds beside it.
    held_along: int
    #: Whether what only others hold that wait may be taken: for the one who has waited longest.
    may_take: bool
    #: What could go, the least recently used first.
    candidates: Callable[[], Iterable[Candidate]]


def decide(books: Books, total: int, url: str) -> list[Candidate] | None:
    """Return what to evict for a file of `total` bytes; None: wait until others let go.

    Raises ModelTooLarge, StorageFull.
    """
    _check_limit(books, total, url)
    most = Hold.WAITING if books.may_take else Hold.QUEUED
    lacking_disk = total - books.at_hand - books.free
    # What jobs have that come first will be let go: that is worth waiting for.
    if lacking_disk > 0 and eviction_plan(books.candidates(), lacking_disk, Hold.EARLIER) is None:
        raise errors.StorageFull(
            f"The disk has no room for {url}: {human(total - books.at_hand)} are needed, "
            f"{human(max(books.free, 0))} are free, and what could be evicted does not suffice.",
            hint="Free some space on the disk of CACHE_DIR, then send the request again.",
        )
    lacking = 0 if books.limit is None else books.occupied + total - books.limit
    return eviction_plan(books.candidates(), max(lacking, lacking_disk), most)


def _check_limit(books: Books, total: int, url: str) -> None:
    if books.limit is None or total + books.held_along <= books.limit:
        return
    along = ""
    if total <= books.limit:
        along = f" beside {human(books.held_along)} that the same job needs"
    raise errors.ModelTooLarge(
        f"{url} needs {human(total)}{along}; the cache holds at most {human(books.limit)}.",
        hint="Raise LRU_CACHE_SIZE_GB (GB of 2^30 bytes; 0 = unlimited), or use smaller files.",
        url=url,
        size=total,
        limit=books.limit,
    )


def human(size: int) -> str:
    """Return a number of bytes in units of 1024."""
    value = float(size)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{size} bytes" if unit == "bytes" else f"{value:,.2f} {unit}"
