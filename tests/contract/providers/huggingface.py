"""Hugging Face, as a small server of its shape has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from gateway.schemas import BearerAuth
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.huggingface import HuggingFaceProvider

from . import hub, storages
from .servers import Servers
from .storages import SECRET, Storage


@storages.add("huggingface")
async def huggingface(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    guard = NetworkGuard(("127.0.0.1", "localhost"))
    async with hub.serving(SECRET) as server, HttpProvider(guard, proxies={}).open() as http:
        server.repository("datasets/org/data").is_private = True
        provider = HuggingFaceProvider(http, None, server.endpoint)
        yield Storage(
            provider=provider,
            url=lambda name: f"hf://datasets/org/data/{quote(name)}",
            auth=BearerAuth(type="bearer", token=SECRET),
            wrong=BearerAuth(type="bearer", token=f"wrong-{SECRET}"),
            nowhere="hf://datasets/org/nowhere/x",
            nowhere_told="repository",
            keeps_type=False,
        )
        await provider.close()
