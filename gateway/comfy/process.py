"""Starts ComfyUI under its guardian, reads its output, and ends it with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from gateway import pipes
from gateway.comfy.output import Lines
from gateway.log import logger

#: Lines kept for the report of a crash.
LAST_LINES = 50
#: Variables of ours that ComfyUI and its custom nodes have no business with.
WITHHELD = frozenset({"API_KEYS", "API_KEYS_FILE", "WEBHOOK_SECRET", "HTTP_AUTH_HEADER_VALUE"})

_GUARDIAN = Path(__file__).with_name("guardian.py")
#: Marks every process of one child, also one that left its session and lost its parent.
_MARK = "COMFY_GATEWAY_CHILD"
_READ_BYTES = 16384
_GUARDIAN_TIMEOUT_S = 5.0
_KILL_TIMEOUT_S = 30.0


def environment(
    inherited: Mapping[str, str], added: Mapping[str, str], *, import_gateway: bool
) -> dict[str, str]:
    """Return the child's environment; `import_gateway` lets it run `-m gateway.embedded`."""
    found = {key: value for key, value in inherited.items() if key.upper() not in WITHHELD}
    found |= added
    found["PYTHONUNBUFFERED"] = "1"
    if import_gateway:
        # Only for our own engine: ComfyUI's Python must not see our packages.
        paths = [str(Path(__file__).parents[2]), found.get("PYTHONPATH", "")]
        found["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return found


class Output:
    """The pipe that the child writes into.

    A pipe of our own, and not asyncio's: with that one, a program that took the pipe along would
    keep us from hearing of the child's end.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line = on_line
        read_end, self.write_end = os.pipe()
        self._file = os.fdopen(read_end, "rb", buffering=0)

    async def read(self) -> None:
        """Hand on each line until the last writer is gone."""
        lines = Lines()
        try:
            async with contextlib.aclosing(pipes.written(self._file, _READ_BYTES)) as found:
                async for data in found:
                    self._tell(lines.feed(data))
        finally:
            self._tell(lines.close())

    def close(self) -> None:
        """Let go of the pipe that nobody reads."""
        self._file.close()

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self.last_lines.append(line)
            self._on_line(line)


class Child:
    """One run of ComfyUI."""

    def __init__(
        self,
        guardian: asyncio.subprocess.Process,
        lifeline: socket.socket,
        mark: str,
        output: Output,
    ) -> None:
        #: ComfyUI's own process; None when it could not be started.
        self.pid: int | None = None
        self.guardian_pid = guardian.pid
        #: What it wrote last.
        self.last_lines = output.last_lines
        self._guardian = guardian
        self._lifeline = lifeline
        self._mark = mark
        self._reader = asyncio.create_task(output.read(), name="child-output")
        self._ended = asyncio.create_task(self._end(), name="child-end")

    async def wait(self) -> int:
        """Return the exit status, -N for signal N, once nothing of the child is left."""
        return await asyncio.shield(self._ended)

    async def stop(self, grace_s: float) -> int:
        """Ask it to end, and kill it after the grace; return once nothing of it is left."""
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    return await self.wait()
        finally:
            self._lifeline.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GUARDIAN_TIMEOUT_S):
                return await self.wait()
        self._signal(signal.SIGKILL)
        return await self.wait()

    async def started(self) -> None:
        """Wait until the guardian has told ComfyUI's pid."""
        loop = asyncio.get_running_loop()
        told = asyncio.create_task(loop.sock_recv(self._lifeline, 32))
        await asyncio.wait({told, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            told.cancel()
            await asyncio.wait({told})
        elif told.exception() is None and told.result():
            self.pid = int(told.result())

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._guardian.send_signal(number)

    async def _end(self) -> int:
        status = await self._guardian.wait()
        # The guardian has killed the rest, unless it was killed itself or the system is no Linux.
        left = await asyncio.to_thread(end_marked, self._mark, _KILL_TIMEOUT_S)
        if left:
            logger.error("Processes of ComfyUI do not die", pids=sorted(left))
        # A program that took the pipe along without the mark may hold it open for ever.
        await asyncio.wait({self._reader}, timeout=1)
        self._reader.cancel()
        await asyncio.wait({self._reader})
        self._lifeline.close()
        return status


async def spawn(
    command: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
) -> Child:
    """Start a command in a session of its own; it dies with this process, whatever ends it."""
    mark, output = secrets.token_hex(8), Output(on_line)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        with theirs:
            guardian = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_GUARDIAN), str(theirs.fileno()), *command),
                cwd=cwd,
                env={**env, _MARK: mark},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
    except BaseException:
        ours.close()
        output.close()
        raise
    finally:
        os.close(output.write_end)
    child = Child(guardian, ours, mark, output)
    try:
        await child.started()
    except asyncio.CancelledError:
        await child.stop(0)
        raise
    return child


def end_marked(mark: str, timeout: float) -> set[int]:
    """Kill every process that bears the mark; return the pids that outlive the timeout."""
    deadline = time.monotonic() + timeout
    while left := _marked(mark):
        if time.monotonic() > deadline:
            return {process.pid for process in left}
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.5)
    return set()


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(_MARK) == mark
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another's, or gone
    return found
