"""The bytes of a webhook, against JavaScript's own where `node` is there."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.body import canonical

NODE = shutil.which("node")
AS_JAVASCRIPT = (
    "const lines = require('fs').readFileSync(0, 'utf8').split('\\n');"
    "console.log(lines.map(line => JSON.stringify(JSON.parse(line))).join('\\n'));"
)

CASES: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (1, "1"),
    (1.0, "1"),
    (-1.0, "-1"),
    (0.0, "0"),
    (-0.0, "0"),
    (0.5, "0.5"),
    (1e-6, "0.000001"),
    (1e-7, "1e-7"),
    (1.5e-7, "1.5e-7"),
    (1e20, "100000000000000000000"),
    (123456789012345680000.0, "123456789012345680000"),
    (1e21, "1e+21"),
    (1.25e300, "1.25e+300"),
    (5e-324, "5e-324"),
    (1700000000123.4, "1700000000123.4"),
    ("", '""'),
    ("é \u2028 \U0001f600 \x7f /", '"é \u2028 \U0001f600 \x7f /"'),
    ('a"b\\c\n\r\t\b\f\x00\x1f', '"a\\"b\\\\c\\n\\r\\t\\b\\f\\u0000\\u001f"'),
    ([], "[]"),
    ({}, "{}"),
    ([1, [2.0, {"a": []}]], '[1,[2,{"a":[]}]]'),
    ({"b": 1, "10": 2, "2": 3, "a": 4, "0": 5}, '{"0":5,"2":3,"10":2,"b":1,"a":4}'),
    ({"01": 1, "-1": 2, "1.0": 3, "1": 4}, '{"1":4,"01":1,"-1":2,"1.0":3}'),
    (
        {"4294967295": 1, "4294967294": 2, "9999999999": 3},
        '{"4294967294":2,"4294967295":1,"9999999999":3}',
    ),
    ({"__proto__": 1, "²": 2, "٣": 3}, '{"__proto__":1,"²":2,"٣":3}'),
]


@pytest.mark.parametrize(("value", "expected"), CASES, ids=lambda value: str(value)[:30])
def test_bytes(value: Any, expected: str) -> None:
    assert canonical(value).decode() == expected


def test_a_seed_above_2_53_is_exact() -> None:
    seed = 2**64 - 1
    assert canonical({"seed": seed, "more": 10**30}) == (
        b'{"seed":18446744073709551615,"more":1000000000000000000000000000000}'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json(value: float) -> None:
    assert canonical([value]) == b"[null]"


def test_half_a_pair_of_surrogates_is_escaped() -> None:
    assert canonical("\ud83dx\udc00é\n") == '"\\ud83dx\\udc00é\\n"'.encode()


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        canonical({"a": {1}})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=4)
            | st.integers(0, 2**33).map(str)
            | st.integers(0, 20).map(str),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_it_says_what_was_said(value: Any) -> None:
    raw = canonical(value)
    assert json.loads(raw, parse_int=float) == value
    assert canonical(json.loads(raw)) == raw


@pytest.mark.skipif(NODE is None, reason="node is not on the PATH")
def test_javascript_writes_the_same() -> None:
    values = [value for value, _ in CASES] + [
        {"half": "\ud83d"},
        [3.14, 1e-5, 0.1 + 0.2, 2**53, -(2**53), 1e100, 123.0, 1.7976931348623157e308, 2.5e-8],
        {"prompt": {"10": {"inputs": {"seed": 5.0}}, "9": {}, "9:0": {}, "a": {}}},
    ]
    raw = [canonical(value).decode() for value in values]
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", AS_JAVASCRIPT],
        input="\n".join(raw).encode(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    # JavaScript reads what Python's own writer wrote, and comes to our bytes.
    assert done.stdout.decode().rstrip("\n").split("\n") == raw
    told = subprocess.run(
        [NODE, "-e", AS_JAVASCRIPT],
        input="\n".join(json.dumps(value) for value in values).encode(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert told.stdout.decode().rstrip("\n").split("\n") == raw


@pytest.mark.skipif(NODE is None, reason="node is not on the PATH")
def test_javascript_writes_the_same_of_anything() -> None:
    found: list[Any] = []

    @given(JSON)
    def gather(value: Any) -> None:
        found.append(value)

    gather()
    raw = [canonical(value).decode() for value in found]
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", AS_JAVASCRIPT],
        input="\n".join(json.dumps(value) for value in found).encode(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.decode().rstrip("\n").split("\n") == raw
