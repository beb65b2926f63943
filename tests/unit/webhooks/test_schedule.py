"""When a webhook is tried again."""

from __future__ import annotations

import pytest

from gateway.config import Settings
from gateway.webhooks.schedule import Schedule

NOW = 1_700_000_000.0
PLAN = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0)


def test_the_settings_own_schedule_is_that_of_the_contract() -> None:
    settings = Settings(host="127.0.0.1")
    schedule = Schedule(settings.webhook_delays, settings.webhook_attempts)

    pauses = [schedule.next_at(tries, NOW, 0.5) for tries in range(1, 11)]

    assert pauses == [*(NOW + delay for delay in PLAN), None]


def test_the_older_name_of_the_number_of_calls_wins() -> None:
    settings = Settings(host="127.0.0.1", prompt_webhook_retries=3, webhook_max_attempts=7)
    assert settings.webhook_attempts == 3


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.9), (0.25, 0.95), (0.5, 1.0), (1.0, 1.1)])
def test_chance_moves_it_by_a_tenth(chance: float, factor: float) -> None:
    assert Schedule((100.0,), 2).next_at(1, NOW, chance) == pytest.approx(NOW + 100 * factor)


@pytest.mark.parametrize(
    ("tries", "attempts", "expected"),
    [(1, 1, None), (1, 2, 5), (2, 3, 30), (3, 9, 30), (8, 9, 30), (9, 9, None), (50, 9, None)],
)
def test_the_last_pause_repeats_until_the_attempts_are_used_up(
    tries: int, attempts: int, expected: float | None
) -> None:
    found = Schedule((5.0, 30.0), attempts).next_at(tries, 0.0, 0.5)
    assert found == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, 30), (0, 30), (10, 30), (300, 300), (3600, 3600), (86400, 3600), (-5, 30)],
)
def test_a_receiver_may_ask_for_a_longer_pause_of_up_to_an_hour(
    asked: float | None, expected: float
) -> None:
    assert Schedule((30.0,), 9).next_at(1, 0.0, 0.5, asked) == expected


def test_a_wish_is_no_way_around_the_last_attempt() -> None:
    assert Schedule((30.0,), 2).next_at(2, 0.0, 0.5, 60.0) is None
