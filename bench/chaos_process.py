"""A gateway that is killed, and started again at once as a supervisor would."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil

from bench import stand
from tests.docs.running import is_ready

_START_S = 180.0
_STOP_S = 60.0


class Gateway:
    """One STATE_DIR and one port; many processes, one after the other."""

    def __init__(self, folder: Path, engine_flags: str, settings: Mapping[str, str]) -> None:
        port, comfy_port = stand.free_port(), stand.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.comfy = f"http://127.0.0.1:{comfy_port}"
        #: Ends that were neither a kill of ours nor the stop.
        self.unasked_ends = 0
        self._folder = folder
        self._environ = stand.environment(folder, port, comfy_port, engine_flags, settings)
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        """Start it, and start it again when it ends by itself; stop it with SIGTERM."""
        self._start()
        watching = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watching.cancel()
            await asyncio.to_thread(self._stop)

    def _start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "gateway", "serve"),
                env=self._environ,
                stdout=log,
                stderr=log,
            )

    @property
    def _alive(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            if self._alive.poll() is not None:
                self.unasked_ends += 1
                self._start()

    def _stop(self) -> None:
        self._alive.send_signal(signal.SIGTERM)
        try:
            self._alive.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._alive.kill()
            self._alive.wait()
            raise

    async def until_ready(self) -> None:
        """Wait until it takes jobs and runs them."""
        deadline = time.monotonic() + _START_S
        while not await asyncio.to_thread(is_ready, self.url):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready in {_START_S} s; see {self._folder / 'log'}")
            await asyncio.sleep(0.05)

    def kill(self) -> float:
        """Kill it with -9 and start it again at once; return when, seconds since 1970."""
        at = time.time()
        self._alive.kill()
        self._alive.wait()
        self._start()
        return at

    async def kill_child(self) -> None:
        """Kill ComfyUI with -9, as soon as there is one."""
        while True:
            child = self._child()
            if child is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                    return
            await asyncio.sleep(0.02)

    def _child(self) -> psutil.Process | None:
        try:
            for one in psutil.Process(self._alive.pid).children():
                if any(part.endswith("guardian.py") for part in one.cmdline()):
                    return next(iter(one.children()), None)
        except psutil.NoSuchProcess:
            return None
        return None

    def processes(self) -> list[str]:
        """Return what still runs of all that it ever started."""
        state, found = self._environ["STATE_DIR"], []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.environ().get("STATE_DIR") == state:
                    found.append(f"{one.pid}: {' '.join(one.cmdline())}")
        return found

    def errors(self) -> list[str]:
        """Return the errors that the log tells of, and the tracebacks in it."""
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        wrong = ('"level":"error"', '"level":"critical"', "Traceback")
        own = (line for line in lines if '"source":"comfyui"' not in line)
        return [line for line in own if any(mark in line for mark in wrong)]

    def outputs(self) -> list[str]:
        """Return the names of the files in the output folder."""
        folder = Path(self._environ["OUTPUT_DIR"])
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
