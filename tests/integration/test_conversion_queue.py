"""Conversions that wait for their turn, while clients leave and the gateway ends."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from gateway.api.descriptions import CANVAS_EXAMPLE
from gateway.app import Gateway
from gateway.config import Settings
from gateway.workflows import turns
from tests.integration.test_loop import settings
from tests.unit.workflows.test_turns import taken
from tests.waiting import wait_until

__all__ = ["settings"]


async def asked(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.post(f"{url}/convert", json={"prompt": CANVAS_EXAMPLE}) as answer:
        return answer.status, (await answer.json()).get("code", "")


async def waiting(count: int) -> None:
    queue = turns._pool()._work_queue
    await wait_until(lambda: queue.qsize() == count, description=f"{count} wait")


async def test_who_waits_is_served_passed_over_or_sent_away(settings: Settings) -> None:
    gateway = Gateway(settings)
    runner = web.AppRunner(gateway.application(), handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await wait_until(lambda: gateway.is_ready, description="it is ready", timeout=30)
        async with aiohttp.ClientSession() as session:
            async with taken() as over:
                stays, leaves = (asyncio.create_task(asked(session, url)) for _ in range(2))
                await waiting(2)
                leaves.cancel()
                # Everything else is served meanwhile.
                async with session.get(f"{url}/workflows") as answer:
                    assert answer.status == 200
                over.set()
                assert await stays == (200, "")
            async with taken():
                late = asyncio.create_task(asked(session, url))
                await waiting(1)
                gateway.is_draining = True
            assert await late == (503, "draining")
    finally:
        gateway.shutdown.ask()
        await runner.cleanup()
