from __future__ import annotations

import signal

import pytest

from gateway.comfy.restart_plan import (
    LOOP_STARTS,
    Record,
    exit_code,
    exit_sentence,
    restart_delay,
)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(-1, 0), (0, 0), (1, 0.5), (2, 1), (3, 2), (4, 4), (7, 32), (8, 60), (9, 60), (10**9, 60)],
)
def test_restart_delay(failures: int, seconds: float) -> None:
    assert restart_delay(failures) == seconds


#: What happened, in a row -> (failures, never ready, crash loop, seconds until the next start).
#: None: it ended before it was ready; a number: it was ready for so many seconds.
HISTORIES: list[tuple[list[float | None], tuple[int, int, bool, float]]] = [
    ([], (0, 0, False, 0)),
    ([None], (1, 1, False, 0.5)),
    ([None] * 4, (4, 4, False, 4)),
    ([None] * 5, (5, 5, True, 60)),
    ([None] * 50, (50, 50, True, 60)),
    ([None] * 4 + [1], (5, 0, False, 8)),
    ([None] * 4 + [60], (1, 0, False, 0.5)),
    ([None] * 4 + [1] + [None] * 4, (9, 4, False, 60)),
    ([None] * 9 + [61] + [None] * 4, (5, 4, False, 8)),
    ([59.9] * 3, (3, 0, False, 2)),
    ([1.0] * 20, (20, 0, False, 60)),
    ([60.0] * 20, (1, 0, False, 0.5)),
]


@pytest.mark.parametrize(("history", "expected"), HISTORIES)
def test_record(history: list[float | None], expected: tuple[int, int, bool, float]) -> None:
    record = Record()
    for ready_s in history:
        if ready_s is not None:
            record = record.ready()
        record = record.ended(ready_s)

    assert (record.failures, record.never_ready, record.is_loop, record.delay) == expected


def test_ready_ends_a_crash_loop() -> None:
    loop = Record(5, 5)

    assert loop.is_loop
    assert not loop.ready().is_loop


@pytest.mark.parametrize(
    ("status", "sentence", "code"),
    [
        (0, "ComfyUI ended with exit code 0.", 0),
        (3, "ComfyUI ended with exit code 3.", 3),
        (127, "ComfyUI ended with exit code 127: its command could not be run.", 127),
        (-signal.SIGSEGV, "ComfyUI was killed by SIGSEGV.", 139),
        (-signal.SIGKILL, "ComfyUI was killed by SIGKILL, perhaps for want of memory.", 137),
        (-99, "ComfyUI was killed by signal 99.", 227),
    ],
)
def test_how_it_ended(status: int, sentence: str, code: int) -> None:
    assert exit_sentence(status) == sentence
    assert exit_code(status) == code


def test_an_end_is_told_with_what_follows_it() -> None:
    ended = "It ended."
    assert Record(1).sentence(ended, gives_up=False) == "It ended. It is started again in 0.5 s."
    looping = Record(LOOP_STARTS, LOOP_STARTS).sentence(ended, gives_up=False)
    assert looping.startswith(f"Crash loop: {LOOP_STARTS} starts in a row never became ready. It ")
    assert "ALWAYS_RESTART_COMFYUI=false" in Record(1).sentence(ended, gives_up=True)
