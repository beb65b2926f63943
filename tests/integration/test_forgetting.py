"""What is over is deleted from ComfyUI's history once it is there, and not before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from gateway.comfy import forgetting
from gateway.comfy.calls import Calls
from gateway.comfy.events import Frame
from gateway.comfy.forgetting import Forgetting
from tests.waiting import wait_until

_LAST = Frame("executing", {"node": None})


class History:
    """ComfyUI's history, as far as it is deleted from."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.asked = 0
        #: So many requests are hung up on.
        self.cut = 0

    async def post(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        self.asked += 1
        if self.asked <= self.cut:
            assert request.transport is not None
            request.transport.abort()
        else:
            self.deleted += body["delete"]
        return web.Response()


@pytest.fixture
def history() -> History:
    return History()


@pytest_asyncio.fixture
async def forgets(history: History, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forgetting]:
    monkeypatch.setattr(forgetting, "_EVERY_S", 0.01)
    app = web.Application()
    app.router.add_post("/history", history.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        found = Forgetting(Calls(f"http://127.0.0.1:{runner.addresses[0][1]}", session))
        task = asyncio.create_task(found.run())
        yield found
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await runner.cleanup()


async def test_a_prompt_waits_for_its_last_frame(forgets: Forgetting, history: History) -> None:
    forgets.add("early", is_filed=False)
    forgets.add("filed", is_filed=True)
    await wait_until(lambda: history.deleted == ["filed"], description="the one is deleted")
    forgets.on_frame("early", Frame("executing", {"node": "3"}))
    forgets.on_frame("early", Frame("progress_state", {}))
    forgets.on_frame("another", _LAST)
    forgets.add("next", is_filed=True)
    await wait_until(lambda: "next" in history.deleted, description="another round")
    assert history.deleted == ["filed", "next"]

    forgets.on_frame("early", _LAST)

    await wait_until(lambda: "early" in history.deleted, description="the other is deleted")


async def test_a_last_frame_that_is_lost_is_not_waited_for(
    forgets: Forgetting, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_LAST_FRAME_S", 0.05)
    forgets.add("silent", is_filed=False)

    await wait_until(lambda: history.deleted == ["silent"], description="it is deleted")


async def test_what_was_not_deleted_is_asked_for_again(
    forgets: Forgetting, history: History
) -> None:
    history.cut = 2
    names = [f"prompt-{number}" for number in range(500)]
    for name in names:
        forgets.add(name, is_filed=True)

    await wait_until(lambda: len(history.deleted) == 500, description="all are deleted")

    assert history.deleted == names
