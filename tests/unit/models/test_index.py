"""The order of last use, and the sum of sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.index import File, Index

NAMES = [f"{letter * 32}.bin" for letter in "abcde"]


def file(name: str, size: int = 1) -> File:
    return File(name, size, 0.0, 1, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "use", "forget"]), st.sampled_from(NAMES)), max_size=40
    )
)
def test_the_order_is_that_of_the_last_use(steps: list[tuple[str, str]]) -> None:
    index = Index()
    expected: list[str] = []
    for step, name in steps:
        found = index.named(name)
        if step == "add":
            index.add(file(name, 2))
        elif step == "use" and found is not None:
            index.use(found, 1.0)
        elif step == "forget":
            index.forget(name)
        if step == "add" or (step == "use" and found is not None):
            expected = [*(one for one in expected if one != name), name]
        elif step == "forget":
            expected = [one for one in expected if one != name]

    assert [one.name for one in index.oldest_first()] == expected
    assert len(index) == len(expected)
    assert index.size == 2 * len(expected)
    assert all(index.of_stem(name[:32]) is index.named(name) for name in NAMES)


def test_two_extensions_of_one_stem_both_count() -> None:
    index = Index()
    first, second = file("a" * 32 + ".bin", 3), file("a" * 32 + ".ckpt", 4)
    index.add(first)
    index.add(second)

    assert index.size == 7
    assert index.of_stem("a" * 32) is second
    index.forget(first.name)
    assert index.of_stem("a" * 32) is second


@pytest.mark.parametrize("name", ["", "missing"])
def test_what_is_not_there(name: str) -> None:
    index = Index()
    index.forget(name)
    index.use(file(NAMES[0]), 1.0)

    assert index.named(name) is None
    assert len(index) == 0
