"""The process in which workflows in Python run: lines of JSON there and back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import orjson

from gateway import pipes
from gateway.log import logger, plain_text
from gateway.workflows.python.child import ANSWER_BYTES

#: Of the environment, what the code of a workflow may see: no keys of ours, no tokens.
_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
)
_KEPT_PREFIXES = ("LC_", "PYTHON")
_START_S = 60.0
_END_S = 5.0
_READ_BYTES = 65536
#: An answer above this is parsed in a thread: the loop serves others meanwhile.
_LARGE = 256 * 1024
#: What is logged of what the code prints, for each order.
_LINES = 100
_LINE_LENGTH = 500


class Died(Exception):
    """The process is gone, or speaks nonsense."""


class ScriptProcess:
    """One run of the process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        output: Output,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._output = output
        self._numbers = itertools.count(1)

    @classmethod
    async def start(cls) -> ScriptProcess:
        """Start it; raises Died, TimeoutError, OSError."""
        ours, theirs = socket.socketpair()
        output = Output()
        try:
            with theirs:
                process = await _spawned(theirs, output)
            reader, writer = await asyncio.open_connection(sock=ours, limit=ANSWER_BYTES)
        except BaseException:
            ours.close()
            output.close()
            raise
        started = cls(process, reader, writer, output)
        output.start()
        try:
            async with asyncio.timeout(_START_S):
                await started._line()
        except BaseException:
            await started.close()
            raise
        return started

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        if self._process.returncode is not None or self._reader.at_eof():
            return False
        try:
            # asyncio hears of its end a moment later; it is left for asyncio to reap.
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, flags) is None
        except ChildProcessError:
            return False

    async def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to an order; raises Died."""
        number = next(self._numbers)
        self._output.begin()
        line = _dumps({**order, "number": number})
        self._writer.write(line)
        with contextlib.suppress(ConnectionError):
            # It may have died with the order half read: its end is told by what is read.
            await self._writer.drain()
        answered = await self._line()
        try:
            answer = await _in_thread_when(len(answered) > _LARGE, orjson.loads, answered)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or answer.get("number") != number:
            raise Died("it wrote into the pipe that its answers go through")
        return answer

    async def close(self) -> None:
        """End it, with all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await self._output.end()

    async def _line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Died(await self._how_it_ended()) from None
        except asyncio.LimitOverrunError:
            raise Died(f"its answer is larger than {ANSWER_BYTES >> 20} MiB") from None

    async def _how_it_ended(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                status = await self._process.wait()
                how = f"signal {-status}" if status < 0 else f"exit status {status}"
                return f"its process ended with {how}"
        return "it closed the pipe that its answers go through"


async def _spawned(theirs: socket.socket, output: Output) -> asyncio.subprocess.Process:
    module = "gateway.workflows.python.child"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, str(theirs.fileno())),
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output.write_end,
        stderr=output.write_end,
        # A group of its own dies as one.
        start_new_session=True,
        pass_fds=(theirs.fileno(),),
    )


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    paths = [str(Path(__file__).parents[2]), kept.get("PYTHONPATH", "")]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:replace",
    }


async def _in_thread_when(is_large: bool, work: Any, value: Any) -> Any:
    return await asyncio.to_thread(work, value) if is_large else work(value)


def _dumps(order: dict[str, Any]) -> bytes:
    return orjson.dumps(order) + b"\n"


class Output:
    """What the code of workflows prints: it goes to the log, as far as it is not a flood."""

    def __init__(self) -> None:
        # A pipe of our own: asyncio's would keep us waiting for whoever took it along.
        read_end, self.write_end = os.pipe()
        self._file = os.fdopen(read_end, "rb", buffering=0)
        self._left = _LINES
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read on, until `end`."""
        os.close(self.write_end)
        self._reading = asyncio.create_task(self._read(), name="output of workflows in Python")

    def begin(self) -> None:
        """Log what the next order prints, also after a flood."""
        self._left = _LINES

    def close(self) -> None:
        """Let go of a pipe that nobody reads."""
        os.close(self.write_end)
        self._file.close()

    async def end(self) -> None:
        """Read no more."""
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=0.2)
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        rest = b""
        try:
            async with contextlib.aclosing(pipes.written(self._file, _READ_BYTES)) as found:
                async for data in found:
                    *lines, rest = (rest + data).split(b"\n")
                    # A line without an end is kept no longer than it is logged.
                    rest = rest[: _LINE_LENGTH * 4]
                    for line in lines:
                        self._log(line)
        finally:
            self._log(rest)

    def _log(self, line: bytes) -> None:
        text = plain_text(line[: _LINE_LENGTH * 4].decode(errors="replace")).rstrip()
        if not text or self._left < 0:
            return
        self._left -= 1
        if self._left < 0:
            text = "it prints more than is logged"
        logger.info("a workflow in Python printed", line=text[:_LINE_LENGTH])
