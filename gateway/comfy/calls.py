"""What ComfyUI is asked over HTTP."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import orjson

from gateway import loose_json

_JSON = {"Content-Type": "application/json"}


class Calls:
    """ComfyUI's own HTTP API; raises aiohttp.ClientError, OSError, TimeoutError, ValueError."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Return the answer; {} where it is no object."""
        data = None if body is None else orjson.dumps(body)
        timeout = aiohttp.ClientTimeout(total=30)
        async with self._session.request(
            method,
            self._url + path,
            data=data,
            headers=_JSON,
            timeout=timeout,
        ) as response:
            raw = await response.read()
        found = loose_json.parse(raw) if raw else {}
        return found if isinstance(found, dict) else {}

    async def prompt(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Hand a prompt over; return the status and the answer."""
        timeout = aiohttp.ClientTimeout(total=None, connect=10)
        async with self._session.post(
            f"{self._url}/prompt", data=body, headers=_JSON, timeout=timeout
        ) as response:
            raw = await response.read()
        try:
            answer = loose_json.parse(raw)
        except ValueError:
            answer = {}
        return response.status, answer if isinstance(answer, dict) else {}

    async def queue(self) -> tuple[set[str], set[str]]:
        """Return the prompts that run, and those that wait."""
        found = await self.json("GET", "/queue")
        return _ids(found.get("queue_running")), _ids(found.get("queue_pending"))

    async def interrupt(self, prompt_id: str) -> None:
        """Take a prompt out of ComfyUI's queue, or interrupt it while it runs."""
        await self.json("POST", "/queue", {"delete": [prompt_id]})
        running, _ = await self.queue()
        if prompt_id in running:
            # Old cores ignore prompt_id and interrupt whatever runs, which here is the same.
            await self.json("POST", "/interrupt", {"prompt_id": prompt_id})

    def socket(
        self, client_id: str
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        """Open the WebSocket that tells of the prompts of a client."""
        return self._session.ws_connect(
            f"{self._url}/ws", params={"clientId": client_id}, heartbeat=30, max_msg_size=0
        )


def _ids(entries: Any) -> set[str]:
    # An entry is [number, prompt_id, prompt, extra_data, outputs].
    return {
        entry[1]
        for entry in entries or []
        if isinstance(entry, list) and len(entry) > 1 and isinstance(entry[1], str)
    }
