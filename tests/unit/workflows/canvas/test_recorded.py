"""What the official frontend sends for the official templates, as it was recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.comfy.nodes import Catalog
from tests.unit.workflows.canvas.sending import exact, plain, sent

DATA = Path(__file__).parents[5] / "shared/data"

pytestmark = pytest.mark.skipif(
    not (DATA / "ui-to-api.json").exists(), reason="../shared/data is not there"
)


@cache
def cases() -> dict[str, Any]:
    if not (DATA / "ui-to-api.json").exists():
        return {}
    found: dict[str, Any] = json.loads((DATA / "ui-to-api.json").read_bytes())["cases"]
    return found


@cache
def object_info() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "object_info.json").read_bytes())["object_info"]
    return found


@cache
def definitions() -> Mapping[str, Any]:
    """Return the classes as the gateway keeps them."""
    catalog = Catalog()
    catalog.replace(object_info())
    return catalog.definitions


def test_there_are_as_many_as_were_recorded() -> None:
    assert len(cases()) == 86


@pytest.mark.parametrize("name", cases())
def test_the_same_is_sent(name: str) -> None:
    case = cases()[name]
    expected = exact(plain(case["api"]))
    assert exact(sent(case["ui"], object_info())) == expected
    assert exact(sent(case["ui"], definitions())) == expected
