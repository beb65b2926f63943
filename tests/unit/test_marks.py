"""Values that JSON cannot hold are mistakes with a place, never values."""

from __future__ import annotations

import pytest

from gateway import marks


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 99999999999999999999", "64 bits"),
        ('{"a": 18446744073709551616}', "64 bits"),
        ("a: .nan", "nan is not a finite number"),
        ("a: -.inf", "-inf is not a finite number"),
        ('{"a": NaN}', "nan is not a finite number"),
        ('a: "\\ud800"', "half a character"),
        ('{"a": "\\ud800"}', "half a character"),
        ("a: 2020-01-01", "put it in quotes"),
        ("a: 2020-13-99", "put it in quotes"),
    ],
)
def test_what_json_cannot_hold(text: str, says: str) -> None:
    found = marks.read(text)
    assert found.value == {"a": None}
    (mistake,) = found.mistakes
    assert says in str(mistake)
    assert mistake.place.line == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.5", 1.5),
        ("1e-3", 0.001),
        ("-1.5E3", -1500.0),
        (".5e+2", 50.0),
        ('"1e-3"', "1e-3"),
        ("1e5", "1e5"),
        ("true", True),
        ("null", None),
        ('"2020-01-01"', "2020-01-01"),
        ('"\\U0001F600"', "😀"),
    ],
)
def test_what_it_can(text: str, value: object) -> None:
    found = marks.read(f"a: {text}")
    assert (found.value, found.mistakes) == ({"a": value}, [])
    # True is no 1 here.
    assert type(found.value["a"]) is type(value)
