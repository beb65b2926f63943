"""Civitai, as a small server of its shape has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from gateway.schemas import BearerAuth
from gateway.storage.civitai import CivitaiProvider
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider

from . import site, storages
from .servers import Servers
from .storages import SECRET, Storage


@storages.add("civitai")
async def civitai(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    guard = NetworkGuard(("127.0.0.1", "localhost"))
    async with site.serving(SECRET) as server, HttpProvider(guard, proxies={}).open() as http:
        right = BearerAuth(type="bearer", token=SECRET)
        numbers: dict[str, str] = {}

        def numbered(name: str) -> str:
            return numbers.setdefault(name, str(len(numbers) + 1))

        async def plant(name: str, body: bytes, _: str) -> None:
            server.files[numbered(name)] = body
            # The client keeps connections for later: they are open before a test counts.
            await http.stat(server.url(numbered(name)), right)

        provider = CivitaiProvider(http, hosts=(server.host,))
        yield Storage(
            provider=provider,
            url=lambda name: server.url(numbered(name)),
            auth=right,
            wrong=BearerAuth(type="bearer", token=f"wrong-{SECRET}"),
            plant=plant,
            is_writable=False,
            keeps_type=False,
        )
        await provider.close()
