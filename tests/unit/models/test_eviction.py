"""What goes to make room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.eviction import Candidate, Hold, eviction_plan

FREE, QUEUED, WAITING, FIRM = Hold.FREE, Hold.QUEUED, Hold.WAITING, Hold.FIRM


def plan(files: list[tuple[str, int, Hold]], needed: int, most: Hold = QUEUED) -> str | None:
    found = eviction_plan((Candidate(*file) for file in files), needed, most)
    return None if found is None else "".join(one.name for one in found)


@pytest.mark.parametrize(
    ("files", "needed", "expected"),
    [
        ([], 0, ""),
        ([], -5, ""),
        ([], 1, None),
        ([("a", 5, FREE), ("b", 5, FREE)], 5, "a"),
        ([("a", 5, FREE), ("b", 5, FREE)], 6, "ab"),
        ([("a", 5, FREE), ("b", 5, FREE)], 11, None),
        # What only a queued job needs goes last, however old.
        ([("a", 5, QUEUED), ("b", 5, FREE)], 5, "b"),
        ([("a", 5, QUEUED), ("b", 5, FREE)], 6, "ba"),
        # What is in use stays.
        ([("a", 5, FIRM), ("b", 5, FREE)], 5, "b"),
        ([("a", 5, FIRM), ("b", 5, FREE)], 6, None),
        ([("a", 5, WAITING), ("b", 5, FREE)], 6, None),
        # Nothing goes needlessly.
        ([("a", 1, FREE), ("b", 2, FREE), ("c", 9, FREE)], 9, "c"),
        ([("a", 4, FREE), ("b", 2, FREE), ("c", 3, FREE)], 7, "ac"),
        ([("a", 0, FREE), ("b", 2, FREE)], 2, "b"),
    ],
)
def test_the_plan(files: list[tuple[str, int, Hold]], needed: int, expected: str | None) -> None:
    assert plan(files, needed) == expected


def test_who_has_waited_longest_may_take_what_others_hold_that_wait() -> None:
    files = [("a", 5, WAITING), ("b", 5, FIRM), ("c", 5, QUEUED)]

    assert plan(files, 6) is None
    assert plan(files, 6, WAITING) == "ca"
    assert plan(files, 11, WAITING) is None


def test_the_plan_reads_no_further_than_it_must() -> None:
    def files() -> object:
        yield Candidate("a", 5)
        raise AssertionError("read on")

    assert eviction_plan(files(), 5) == [Candidate("a", 5)]  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(Hold)), max_size=20),
    st.integers(0, 800),
    st.sampled_from([QUEUED, WAITING]),
)
def test_properties(sizes: list[tuple[int, Hold]], needed: int, most: Hold) -> None:
    files = [Candidate(str(at), size, hold) for at, (size, hold) in enumerate(sizes)]
    evictable = sum(file.size for file in files if file.hold <= most)

    found = eviction_plan(files, needed, most)

    assert (found is None) == (evictable < needed)
    if found:
        gained = sum(file.size for file in found)
        assert gained >= needed
        assert all(gained - file.size < needed for file in found)
        assert all(file.hold <= most for file in found)
        assert len(set(found)) == len(found)
        # What is held more firmly goes only when all that is held less does not suffice.
        firmest = max(file.hold for file in found)
        assert sum(file.size for file in files if file.hold < firmest) < needed
