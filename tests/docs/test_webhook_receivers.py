"""The receivers on the page about webhooks take what is sent, once, and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway.jobs.outbox import DeliveryState
from tests.contract.sending import SECRET, sending
from tests.docs.reading import DOCS
from tests.docs.running import free_port
from tests.waiting import wait_until

PAGE = (DOCS / "howto" / "webhooks.md").read_text()
PROGRAMS = {"python": sys.executable, "javascript": shutil.which("node")}


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_receiver_of_the_page(tmp_path: Path, language: str) -> None:
    program = PROGRAMS[language]
    if program is None:
        pytest.skip("node is not on the PATH")
    [code] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "receiver").write_text(code)
    port = free_port()
    env = {"PATH": os.environ["PATH"], "PORT": str(port), "WEBHOOK_SECRET": f"whsec_{SECRET}"}
    process = await asyncio.create_subprocess_exec(
        *(program, str(tmp_path / "receiver")),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/hook"
        await wait_until(lambda: _refuses(url), description="the receiver listens")
        await _cut_off(port)
        async with sending(tmp_path) as stand:
            await stand.over("small", files={"é.png": b"\x89PNG"}, webhook_v2=url)
            [small] = await stand.until(DeliveryState.DELIVERED)
            await stand.store.outbox.replay(small.id)
            await stand.until_tried(2)
            await stand.over("large", files={"a.mp4": bytes(3 << 20)}, webhook_v2=url)
            found = await stand.until(DeliveryState.DELIVERED, 2)
    finally:
        process.kill()
        out, _ = await process.communicate()
    assert out.decode().splitlines() == ["prompt.complete small", "prompt.complete large"]
    assert [call["status"] for one in found for call in one.attempts] == [204] * 3


async def _cut_off(port: int) -> None:
    """Reset a connection amid the body, as a gateway does that is killed while it sends."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    await wait_until(lambda: _refuses(f"http://127.0.0.1:{port}/hook"), description="it was read")
    writer.transport.abort()


async def _refuses(url: str) -> bool:
    """Send what nobody signed; what is refused is refused by a receiver that runs."""
    headers = {"webhook-id": "x", "webhook-timestamp": "5", "webhook-signature": "v1,AAAA"}
    try:
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=b"{}") as bare:
                assert bare.status == 401
            async with session.post(url, data=b"{}", headers=headers) as forged:
                assert forged.status == 401
    except aiohttp.ClientConnectionError:
        return False
    return True
