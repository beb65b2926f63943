"""The process: a listener, signals, and what a failed start comes to."""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
from collections.abc import Callable

from aiohttp import web

from gateway import errors
from gateway.app import Gateway
from gateway.config import Settings
from gateway.log import logger

#: How long a thread that computes keeps Python to itself while the loop waits for its turn. With
#: Python's own 5 ms, a request that takes ten turns waits a second behind twenty conversions.
_TURN_S = 0.0005
#: Of the first line of a request, with the query.
LINE_BYTES = 64 * 1024


async def serve(settings: Settings, announce: Callable[[str], None] = lambda _: None) -> int:
    """Run the gateway until a signal; return the exit status.

    `announce` gets the address once it listens, which is at once.
    """
    sys.setswitchinterval(_TURN_S)
    gateway = Gateway(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.shutdown.on_signal)
    runner = web.AppRunner(
        gateway.application(),
        access_log=None,
        handler_cancellation=True,
        # A whole prompt may be looked for, and in a URL a letter may take nine.
        max_line_size=LINE_BYTES,
        shutdown_timeout=max(settings.drain_timeout_s, 5.0),
    )
    try:
        await _set_up(runner)
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as failure:
            raise errors.SettingsInvalid(
                f"HOST={settings.host} PORT={settings.port}: {failure.strerror or failure}"
            ) from None
        port = runner.addresses[0][1]
        logger.info("listening", host=settings.host, port=port, engine=settings.engine_kind)
        announce(f"http://{settings.host}:{port}")
        await gateway.shutdown.asked.wait()
        await gateway.drain()
    finally:
        await runner.cleanup()
    logger.info("stopped", exit_code=gateway.shutdown.exit_code)
    return gateway.shutdown.exit_code


async def _set_up(runner: web.AppRunner) -> None:
    """Start the parts; raises SettingsInvalid and StorageFull where a file cannot be used."""
    try:
        await runner.setup()
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise errors.StorageFull(
                "A disk is full that the gateway writes to.",
                hint="Make room for STATE_DIR, CACHE_DIR, INPUT_DIR and TEMP_DIR, then try again.",
            ) from failure
        if failure.filename is None:
            raise
        raise errors.SettingsInvalid(f"{failure.filename}: {failure.strerror}") from failure


def run(settings: Settings) -> int:
    """Run the gateway in an event loop of its own; return the exit status."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(serve(settings))
