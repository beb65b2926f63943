from __future__ import annotations

import pytest

from gateway.jobs import estimate
from gateway.jobs.estimate import (
    ASSUMED_S,
    DEFAULT_RETRY_S,
    NOTHING,
    OVERALL,
    Active,
    Block,
    Durations,
    Estimate,
    Known,
)

QUICK, SLOW, NEW = 1, 2, 3
KNOWN = Durations({QUICK: Known(2.0, 5), SLOW: Known(30.0, 5), OVERALL: Known(10.0, 10)})


def test_the_first_durations_make_a_plain_mean_and_later_ones_drift() -> None:
    found = NOTHING
    for seconds in (10.0, 20.0, 30.0):
        found = found.blended(seconds)
    assert found == Known(pytest.approx(20.0), 3)

    for _ in range(50):
        found = found.blended(100.0)
    assert found.seconds == pytest.approx(100.0, rel=0.01)


def test_a_new_shape_lasts_as_long_as_the_others() -> None:
    assert (KNOWN.of(SLOW), KNOWN.of(NEW), Durations().of(NEW)) == (30.0, 10.0, None)
    assert Durations().assumed(NEW) == ASSUMED_S


def test_the_wait_is_what_stands_before_it_and_what_remains_of_what_runs() -> None:
    active = [Active(SLOW, 1000.0), Active(QUICK, None)]

    found = estimate.estimate(NEW, {QUICK: 3, SLOW: 2, NEW: 1}, active, KNOWN, now=1012.0)

    # 3 * 2 + 2 * 30 + 10 ahead; 30 - 12 and 2 run.
    assert found == Estimate(wait=76.0 + 20.0, duration=10.0)


def test_a_job_that_runs_longer_than_expected_counts_as_nearly_done() -> None:
    found = estimate.estimate(QUICK, {}, [Active(SLOW, 1000.0)], KNOWN, now=5000.0)
    assert found == Estimate(wait=0.0, duration=2.0)


def test_nothing_known_is_no_estimate() -> None:
    assert estimate.estimate(QUICK, {QUICK: 3}, [], Durations(), now=0.0) is None


@pytest.mark.parametrize(
    ("ahead", "active", "known", "seconds"),
    [
        ({}, [], Durations(), DEFAULT_RETRY_S),
        # The one that ends first makes room.
        ({}, [Active(SLOW, 95.0), Active(SLOW, None)], KNOWN, 25.0),
        ({SLOW: 2}, [Active(SLOW, 95.0)], KNOWN, 85.0),
        ({}, [Active(QUICK, 90.0)], KNOWN, 1.0),
        ({SLOW: 1000}, [], KNOWN, 3600.0),
    ],
)
def test_retry_after_is_when_a_place_is_free(
    ahead: dict[int, int], active: list[Active], known: Durations, seconds: float
) -> None:
    assert estimate.retry_after(ahead, active, known, now=100.0) == seconds


def test_blocks_are_passed_until_the_time_is_up() -> None:
    blocks = [Block(7, QUICK, 5), Block(7, SLOW, 1), Block(8, SLOW, 2), Block(9, QUICK, 1)]

    assert estimate.within(blocks, KNOWN, 39.0) == (7, 39.0)
    assert estimate.within(blocks, KNOWN, 50.0) == (8, 10.0)
    assert estimate.within(blocks, KNOWN, 500.0) == (None, 398.0)


@pytest.mark.parametrize(
    ("result", "seconds"),
    [
        ({}, None),
        ({"stats": {}}, None),
        ({"stats": {"comfy_execution": {"duration": 2500.0}}}, 2.5),
        ({"stats": {"comfy_execution": {"duration": -1.0}}}, 0.0),
    ],
)
def test_a_duration_is_the_engines(result: dict[str, object], seconds: float | None) -> None:
    assert estimate.duration_of(result) == seconds
