"""Programs that tests start as ComfyUI, and how to start them."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from gateway.comfy.probe import Timings
from gateway.comfy.snapshot import Snapshot
from gateway.comfy.supervisor import Install, Supervisor
from gateway.config import Settings
from tests.ports import free_port

HERE = Path(__file__).parent
QUICK = Timings(start_interval_s=0.1, start_timeout_s=None, stall_s=60, probe_every_s=0.1)


def can_connect(port: int) -> bool:
    """Whether somebody listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def lives(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def hosted(command: list[str]) -> list[str]:
    """Return a command that spawns another as the gateway does."""
    return [sys.executable, str(HERE / "host.py"), *command]


@dataclass
class Programs:
    """Commands of one test; what is left of them afterwards is told, and killed."""

    tag: str
    port: int = field(default_factory=free_port)

    def server(self, *flags: str, port: int | None = None) -> list[str]:
        """Return the command of the tiny engine."""
        program = [sys.executable, "-I", "-S", str(HERE / "server.py"), self.tag]
        return [*program, "--port", str(port or self.port), *flags]

    def host(self, *flags: str) -> list[str]:
        """Return a command that spawns the tiny engine as the gateway does."""
        return hosted(self.server(*flags))

    def left(self) -> list[psutil.Process]:
        """Return the processes of this test that still run."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            is_ours = self.tag in (process.info["cmdline"] or ())
            if is_ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


@contextlib.contextmanager
def programs(tag: str) -> Iterator[Programs]:
    """Give commands to a test, and fail it when it leaves a process behind."""
    found = Programs(tag)
    try:
        yield found
    finally:
        left = found.left()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
    assert not left, f"left behind: {left}"


def family(lines: list[str]) -> dict[str, int]:
    """Return the pids that the tiny engine has told."""
    told: dict[str, int] = json.loads(next(line for line in lines if line.startswith("{")))
    return told


@dataclass
class Watched:
    """A supervisor, and all it has said."""

    supervisor: Supervisor
    said: list[Snapshot]
    restarts: list[str]

    @property
    def now(self) -> Snapshot:
        """How ComfyUI stands."""
        return self.supervisor.snapshot

    @property
    def states(self) -> list[str]:
        """The states it went through, repetitions left out."""
        names = [snapshot.state for snapshot in self.said]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


async def _nothing() -> None:
    pass


@contextlib.asynccontextmanager
async def supervised(
    command: list[str] | None,
    port: int,
    *,
    warm_up: Callable[[], Any] = _nothing,
    install: Install | None = None,
    timings: Timings | None = QUICK,
    **settings: Any,
) -> AsyncIterator[Watched]:
    """Supervise a command, else what the settings say, until the test is over."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        restarts: list[str] = []
        supervisor = Supervisor(
            Settings(cmd=command and shlex.join(command), comfyui_port_host=port, **settings),
            session,
            warm_up=warm_up,
            on_restart=restarts.append,
            install=install,
            timings=timings,
        )
        watched = Watched(supervisor, [], restarts)
        supervisor.on_change(watched.said.append)
        await supervisor.start()
        try:
            yield watched
        finally:
            await supervisor.stop()
