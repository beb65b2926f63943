"""A store of each engine, and the clock that it goes by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.jobs.store import Store, open_store
from tests.contract.stores import ENGINES, Hands


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def store(url: str, hands: Hands) -> AsyncIterator[Store]:
    opened = await open_store(url, hands)
    yield opened
    await opened.close()
