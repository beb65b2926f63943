"""Who holds what."""

from __future__ import annotations

from gateway.models.pins import Pins


def test_a_pin_is_firm_until_it_is_loosened_or_released() -> None:
    pins = Pins()

    assert pins.pin("x", "a")
    assert not pins.pin("x", "a")
    assert pins.pin("x", "b")
    pins.loosen("a")
    assert (pins.firm("x"), pins.is_loose("x")) == (frozenset("b"), True)
    pins.release("b")
    assert (pins.is_firm("x"), pins.is_loose("x")) == (False, True)
    assert pins.holders("x") == ["a"]
    assert pins.pin("x", "a")
    assert (pins.is_firm("x"), pins.is_loose("x")) == (True, False)
    pins.release("a")
    assert pins.holders("x") == []
    assert not list(pins.all_firm()) + list(pins.all_loose())


def test_age_counts_from_the_first_pin_and_ends_with_the_last() -> None:
    pins = Pins()
    pins.pin("x", "a")
    pins.pin("y", "b")
    pins.pin("z", "a")
    pins.drop("x", "a")

    assert pins.age("a") < pins.age("b") < pins.age("unheard of")
    pins.drop("z", "a")
    pins.pin("x", "a")
    assert pins.age("a") > pins.age("b")


def test_what_a_holder_holds_firmly() -> None:
    pins = Pins()
    pins.pin("x", "a")
    pins.pin("y", "a")

    assert sorted(pins.firmly_held_by("a")) == ["x", "y"]
    pins.loosen("a")
    assert not list(pins.firmly_held_by("a"))
    assert not list(pins.firmly_held_by("nobody"))


def test_letting_go_of_nothing_is_nothing() -> None:
    pins = Pins()
    pins.release("a")
    pins.loosen("a")
    pins.drop("x", "a")
