"""When a transfer is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.storage.failures import TransferFailed, Verdict
from gateway.storage.pace import Patience
from gateway.storage.trials import Trials

CUT = TransferFailed(Verdict("it broke off", "host", True))
GONE = TransferFailed(Verdict("there is no such file", "url"))
SILENT = TransferFailed(Verdict("it is silent", "host", True, is_silence=True))
BUSY = TransferFailed(Verdict("too many requests", "host", True, retry_after=25.0))
PATIENCE = Patience(silences=3, unproven_s=6.0, told_s=60.0)


@dataclass
class World:
    now: float = 100.0
    arrived: int = 0

    def trials(self) -> Trials:
        return Trials(PATIENCE, lambda: self.arrived, lambda: self.now)


def test_what_stays_wrong_is_not_tried_again() -> None:
    trials = World().trials()

    assert trials.pause(GONE) is False
    assert trials.pause(ValueError()) is False


def test_a_host_that_never_sent_a_byte_is_given_up_soon() -> None:
    world = World()
    trials = world.trials()

    assert trials.pause(CUT) is True
    world.now += 5.9
    assert trials.pause(CUT) is True
    world.now += 0.2
    assert trials.pause(CUT) is False


def test_a_host_that_sent_some_has_earned_more_time() -> None:
    world = World(arrived=10)
    trials = world.trials()

    world.now += 3600
    assert trials.pause(CUT) is False
    world.arrived += 1
    assert trials.pause(CUT) is True


def test_silences_are_counted() -> None:
    world = World()
    trials = world.trials()

    assert [trials.pause(SILENT) for _ in range(2)] == [True, False]
    world.arrived += 1
    assert [trials.pause(SILENT) for _ in range(2)] == [True, False]


def test_a_host_may_ask_for_time_but_not_for_ever() -> None:
    world = World()
    trials = world.trials()

    world.now += 10
    assert [trials.pause(BUSY) for _ in range(3)] == [25.0, 25.0, False]
