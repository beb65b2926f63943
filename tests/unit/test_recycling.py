"""When ComfyUI is restarted between jobs."""

from __future__ import annotations

import os

import pytest

from gateway.recycling import Limits, reason_for, resident

GB = 1024**3


@pytest.mark.parametrize(
    ("limits", "jobs", "rss", "expected"),
    [
        (Limits(0, 0), 10_000, 900 * GB, None),
        (Limits(3, 0), 2, 900 * GB, None),
        (Limits(3, 0), 3, 0, "recycle_jobs"),
        (Limits(3, 0), 5, 0, "recycle_jobs"),
        (Limits(0, 1.5), 1, int(1.4 * GB), None),
        (Limits(0, 1.5), 1, int(1.6 * GB), "recycle_rss"),
        # It starts above the limit: at least a job between two restarts.
        (Limits(0, 1.5), 0, 2 * GB, None),
        (Limits(2, 1.5), 2, 2 * GB, "recycle_jobs"),
        (Limits(2, 1.5), 1, 2 * GB, "recycle_rss"),
    ],
)
def test_reason(limits: Limits, jobs: int, rss: int, expected: str | None) -> None:
    assert reason_for(limits, jobs, rss) == expected


def test_memory_of_a_tree() -> None:
    assert resident(os.getpid()) > 1024**2
    assert resident(2**22 + 1) == 0
