"""What a query of GET /generations looks for."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from gateway import errors
from gateway.api import generations, paging


@pytest.mark.parametrize(("given", "seed"), [("7", 7), (str(2**64 - 1), 2**64 - 1), (" 7 ", 7)])
def test_seeds(given: str, seed: int) -> None:
    assert generations.sought(MultiDict(seed=given)).seed == seed


@pytest.mark.parametrize("given", [str(2**64), "0" * 21 + "9" * 5000, "-1", "7.0", "x", "٧"])
def test_what_is_no_seed(given: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        generations.sought(MultiDict(seed_min=given))
    assert caught.value.location == "seed_min"


@pytest.mark.parametrize("given", ["0", "201", "-1", "", "000000001" + "9" * 5000])
def test_what_is_no_limit(given: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        paging.limit({"limit": given})
