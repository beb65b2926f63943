"""Every storage, each with a server of its own kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from . import storages
from .servers import Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Started one by one, when a test first needs one."""
    found = Servers(tmp_path_factory.mktemp("servers"))
    yield found
    found.close()


@pytest.fixture(params=storages.names())
async def storage(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncIterator[storages.Storage]:
    """One storage after the other."""
    folder = tmp_path / "storage"
    folder.mkdir()
    async with storages.ALL[request.param](servers, folder) as found:
        yield found
