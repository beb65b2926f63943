"""One fetch of one URL, as the tests of hosts want it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway import errors
from gateway.schemas import Auth
from gateway.storage.fetcher import Fetcher, FetchRequest
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider, Timeouts
from gateway.storage.pace import Patience
from tests.hosts import Only


@dataclass
class Fetching:
    """Opens a fetcher, fetches one URL, returns its bytes."""

    folder: Path

    async def __call__(
        self,
        url: str,
        auth: Auth | None = None,
        *,
        limit: int = 10 << 20,
        allow: tuple[str, ...] = ("127.0.0.0/8", "localhost"),
        **how: Any,
    ) -> bytes:
        http = HttpProvider(
            NetworkGuard(allow),
            timeouts=Timeouts(connect=1.0, stall=0.3),
            **{"proxies": {}, **how},
        )
        patience = Patience(attempts=3, wait_initial=0.01, wait_max=0.05)
        async with http.open(), Fetcher(Only(http), patience=patience).run() as fetcher:
            fetched = await fetcher.fetch(
                FetchRequest(
                    url=url,
                    auth=auth,
                    folder=self.folder,
                    stem="x",
                    limit_bytes=limit,
                    name=lambda path, arrival: "x.bin",
                    location="prompt.3.inputs.image",
                )
            )
        return fetched.path.read_bytes()

    async def refused(self, *args: Any, **how: Any) -> errors.GatewayError:
        refusal = await refused(self, *args, **how)
        assert not self.folder.exists() or list(self.folder.iterdir()) == []
        assert refusal.location == "prompt.3.inputs.image"
        return refusal


async def refused(fetch: Fetching, *args: Any, **how: Any) -> errors.GatewayError:
    with pytest.raises(errors.GatewayError) as caught:
        await fetch(*args, **how)
    return caught.value
