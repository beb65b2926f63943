from __future__ import annotations

from gateway.jobs.policy import Owner, Policy, ahead_in_turns, rank, turns

FAIR = Policy(is_fair=True)


def test_ten_minutes_of_waiting_are_worth_one_level_of_priority() -> None:
    now = 1_800_000_000.0
    assert rank(now, 1) < rank(now, 0) < rank(now, -1)
    assert rank(now, 0) < rank(now + 601.0, 1)
    assert rank(now, -100) < rank(now + 60_001.0, 0)


def test_turns_go_to_who_runs_least_then_to_who_was_served_longest_ago() -> None:
    owners = [Owner("a", 9, 1, 3), Owner("b", 9, 0, 5), Owner("c", 9, 0, 4), Owner("d", 9, 2, 1)]
    assert [owner.name for owner in turns(owners, FAIR)] == ["c", "b", "a", "d"]


def test_who_runs_as_many_as_allowed_waits() -> None:
    owners = [Owner("a", 9, 2, 3), Owner("b", 9, 1, 5)]
    for policy in (
        Policy(most_running_per_owner=2),
        Policy(most_running_per_owner=2, is_fair=True),
    ):
        assert [owner.name for owner in turns(owners, policy)] == ["b"]


def test_a_place_in_turns_counts_what_others_get_meanwhile() -> None:
    many, few, own = Owner("many", 1000, 0, 1), Owner("few", 2, 0, 2), Owner("own", 5, 0, 3)
    owners = [many, few, own]
    # Both come before it in every round, while they have jobs.
    assert ahead_in_turns(owners, own, 0) == 2
    assert ahead_in_turns(owners, own, 3) == 3 + 4 + 2
    assert ahead_in_turns(owners, many, 0) == 0
    assert ahead_in_turns(owners, many, 500) == 500 + 2 + 5
