"""The gateway that a command speaks to: one that runs, or one of its own meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

from gateway.cli.client import Address, Client, Refused, Unreached
from gateway.cli.failure import CommandFailed

if TYPE_CHECKING:
    from gateway.comfy.process import Child

_HOST = "127.0.0.1"
_DEFAULT_PORT = "3000"
_LOOK_S = 0.1
_STOP_S = 30.0
_CONNECT_S = 2.0
_LINES_TOLD = 15
#: Ctrl-C, `kill`, and a terminal that was closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(command: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end, also where a signal ends it: nothing of it is left behind."""
    signalled = False

    async def guarded() -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def end() -> None:
            nonlocal signalled
            # The next ones change nothing: what the first began ends by itself, in time.
            if not signalled:
                signalled = True
                task.cancel()

        for number in _ENDING:
            loop.add_signal_handler(number, end)
        await command

    try:
        asyncio.run(guarded())
    except asyncio.CancelledError:
        if signalled:
            raise KeyboardInterrupt from None
        raise


@contextlib.asynccontextmanager
async def reached(url: str | None, key: str | None) -> AsyncIterator[Client]:
    """Yield a client of the gateway at `url`.

    Without one: of that on this machine, or of one that is started for this command, with the
    settings of the environment, where none listens. Raises CommandFailed.
    """
    here = url or f"http://{_HOST}:{os.environ.get('PORT') or _DEFAULT_PORT}"
    async with contextlib.AsyncExitStack() as stack:
        address = Address(here, key)
        if url is None and not await _listens(here):
            address = await stack.enter_async_context(_started(here))
        yield await stack.enter_async_context(Client.open(address))


async def _listens(url: str) -> bool:
    port = url.rpartition(":")[2]
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(_HOST, int(port))
    except ValueError:
        raise CommandFailed(f"PORT={port} is no port.") from None
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def _started(asked: str) -> AsyncIterator[Address]:
    """Yield where a gateway of our own is; it ends with this, at the latest with our process."""
    from gateway import log
    from gateway.cli import screen
    from gateway.cli import settings as setting
    from gateway.comfy import process

    log.configure("error", "console", log.stderr())
    engine = setting.read().engine_kind
    screen.show_notes([f"No gateway listens at {asked}: starting one, with the {engine} engine."])
    key = secrets.token_hex(16)
    ports = _free_ports()
    env = {**os.environ, **_settings(ports, key)}
    command = (sys.executable, "-m", "gateway", "serve")
    child = await process.spawn(command, cwd=None, env=env, on_line=lambda _: None)
    address = Address(f"http://{_HOST}:{ports[0]}", key)
    try:
        await _ready(child, address)
        yield address
    finally:
        await asyncio.shield(child.stop(_STOP_S))


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind((_HOST, 0))
        return first.getsockname()[1], second.getsockname()[1]


def _settings(ports: tuple[int, int], key: str) -> dict[str, str]:
    """Return what is set whatever the environment says: only this command uses that gateway."""
    return {
        "HOST": _HOST,
        "PORT": str(ports[0]),
        "COMFYUI_PORT_HOST": str(ports[1]),
        "API_KEYS": f"command:{key}",
        "API_KEYS_FILE": "",
        # With 0 an output is gone before it can be saved.
        "OUTPUT_TTL_S": "3600",
        "LOG_FORMAT": "console",
    }


async def _ready(child: Child, address: Address) -> None:
    """Wait until it runs jobs; raises CommandFailed with the reason when it does not start."""
    ended = asyncio.create_task(child.wait())
    async with Client.open(address) as client:
        while not ended.done():
            try:
                await client.ask("GET", "/ready")
                return
            except Refused as refused:
                if refused.body.get("reason") == "comfyui_down":
                    detail = str(refused.body.get("detail") or "ComfyUI does not run.")
                    # That it is started again is not so: this is the end of it.
                    raise _failed(child, detail.partition(". ")[0].rstrip(".") + ".") from None
            except Unreached:
                pass
            await asyncio.wait({ended}, timeout=_LOOK_S)
    raise _failed(child, f"It ended with exit status {ended.result()}.")


def _failed(child: Child, reason: str) -> CommandFailed:
    lines = [line for line in list(child.last_lines)[-_LINES_TOLD:] if line.strip()]
    told = "\n      ".join(["it said:", *lines]) if lines else None
    return CommandFailed(f"The gateway does not start: {reason}", hint=told)
