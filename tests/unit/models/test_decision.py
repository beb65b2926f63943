"""Whether a file may have room."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import errors
from gateway.models.decision import Books, decide, human
from gateway.models.eviction import Candidate, Hold

GB = 1 << 30
OLD = Candidate("old", 2 * GB)
USED = Candidate("used", 2 * GB, Hold.FIRM)
WAITING = Candidate("waiting", 2 * GB, Hold.WAITING)


def books(*candidates: Candidate, **more: Any) -> Books:
    given: dict[str, Any] = {
        "limit": 4 * GB,
        "occupied": sum(one.size for one in candidates),
        "at_hand": 0,
        "free": 100 * GB,
        "held_along": 0,
        "may_take": False,
        "candidates": lambda: candidates,
    }
    return Books(**{**given, **more})


@pytest.mark.parametrize(
    ("found", "total", "expected"),
    [
        (books(), 4 * GB, []),
        (books(OLD, USED), 2 * GB, [OLD]),
        (books(OLD, USED), 3 * GB, None),
        (books(WAITING, USED), GB, None),
        (books(WAITING, USED, may_take=True), GB, [WAITING]),
        (books(OLD, limit=None), 1000 * GB, "StorageFull"),
        (books(OLD, limit=None), 90 * GB, []),
        # The disk is smaller than the limit.
        (books(OLD, limit=100 * GB, free=GB), 3 * GB, [OLD]),
        (books(OLD, limit=100 * GB, free=GB), 4 * GB, "StorageFull"),
        (books(OLD, limit=100 * GB, free=GB, at_hand=GB), 4 * GB, [OLD]),
        (books(USED, limit=100 * GB, free=GB), 2 * GB, "StorageFull"),
    ],
)
def test_the_decision(found: Books, total: int, expected: object) -> None:
    if expected == "StorageFull":
        with pytest.raises(errors.StorageFull, match="what could be evicted does not suffice"):
            decide(found, total, "https://h/x")
    else:
        assert decide(found, total, "https://h/x") == expected


def test_what_can_never_fit_is_told_with_both_sizes() -> None:
    with pytest.raises(errors.ModelTooLarge) as caught:
        decide(books(OLD), 5 * GB, "https://h/x")

    assert caught.value.message == "https://h/x needs 5.00 GB; the cache holds at most 4.00 GB."
    assert "LRU_CACHE_SIZE_GB" in (caught.value.hint or "")
    assert caught.value.details == {"url": "https://h/x", "size": 5 * GB, "limit": 4 * GB}


def test_what_the_same_job_holds_counts() -> None:
    with pytest.raises(errors.ModelTooLarge, match=r"beside 2\.00 GB that the same job needs"):
        decide(books(USED, held_along=2 * GB), 3 * GB, "https://h/x")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.00 KB"),
        (3 * GB // 2, "1.50 GB"),
        (5000 * GB, "4.88 TB"),
    ],
)
def test_sizes_for_people(size: int, expected: str) -> None:
    assert human(size) == expected
