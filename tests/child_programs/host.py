"""Spawns a command as the gateway does, tells the pids, and waits to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import uvloop

from gateway.comfy.process import spawn


async def main(command: list[str]) -> None:
    family: asyncio.Queue[str] = asyncio.Queue()
    child = await spawn(command, cwd=None, env=os.environ, on_line=family.put_nowait)
    told = json.loads(await family.get())
    print(json.dumps({**told, "guardian": child.guardian_pid}), flush=True)
    await child.wait()


uvloop.run(main(sys.argv[1:]))
