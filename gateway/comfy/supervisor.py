"""Keeps one ComfyUI running; one task owns its state, everyone else asks.

          answers            warm-up done
starting ---------> warming -------------> ready
   ^   |               |                     |     stop(), from any state
   |   v               v                     v     -> draining -> stopped
   +---- delay ---- crashed <----------------+
   +---- restarted between two jobs ---------+
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import aiohttp

from gateway import errors
from gateway.comfy import command, port, process
from gateway.comfy.probe import Probe, Timings
from gateway.comfy.process import Child
from gateway.comfy.restart_plan import (
    PLANNED,
    Record,
    exit_code,
    exit_sentence,
    restart_delay,
    restart_sentence,
)
from gateway.comfy.snapshot import Snapshot, log_change
from gateway.config import Settings
from gateway.log import logger

__all__ = ["Snapshot", "Supervisor"]

_LONGEST_PORT_PAUSE_S = 10.0
_Act = Callable[..., Awaitable[None]]
Install = Callable[[Callable[[str], None]], Awaitable[None]]


class Supervisor:
    """Starts, watches, restarts and stops ComfyUI."""

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession,
        *,
        warm_up: Callable[[], Awaitable[None]],
        on_restart: Callable[[str], None],
        install: Install | None = None,
        timings: Timings | None = None,
    ) -> None:
        """`session` must not trust the environment: a proxy is not for the child.

        `install` is awaited before the first start; it gets whom to tell how far it is.
        """
        self.snapshot = Snapshot(since=time.time())
        self._settings = settings
        self._timings = timings or Timings.of(settings)
        self._probe = Probe(session, settings.comfy_url, self._timings)
        self._warm_up = warm_up
        self._on_restart = on_restart
        self._install = install
        self._listeners: list[Callable[[Snapshot], None]] = []
        #: Hears each line that ComfyUI writes.
        self.on_line: Callable[[str], None] = lambda _: None
        #: What is asked, and of which run; None = whichever.
        self._mailbox: asyncio.Queue[tuple[int | None, _Act, tuple[Any, ...]]] = asyncio.Queue()
        self._owner: asyncio.Task[None] | None = None
        self._side_tasks: set[asyncio.Task[None]] = set()
        self._run = 0
        self._child: Child | None = None
        self._record = Record()
        self._ready_at: float | None = None
        self._restart_reason: str | None = None
        self._port_tries = 0
        self._is_ready = asyncio.Event()
        self._gave_up: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    # What others ask

    def on_change(self, callback: Callable[[Snapshot], None]) -> None:
        """Call back with each new snapshot; the call must not block."""
        self._listeners.append(callback)

    async def start(self) -> None:
        """Begin to start ComfyUI; returns at once."""
        self._owner = asyncio.create_task(self._own(), name="supervisor")
        self._owner.add_done_callback(self._owner_ended)
        if self._install is None:
            self._ask(None, self._begin)
        else:
            self._beside(self._begin_after_install(self._install))

    async def wait_ready(self) -> None:
        """Wait until jobs may be sent."""
        await self._is_ready.wait()

    async def wait_gave_up(self) -> int:
        """Wait until no start will follow; return the exit code to end with.

        Raises InstallFailed when ComfyUI lacks what it was to be started with.
        """
        return await asyncio.shield(self._gave_up)

    async def restart(self, reason: str) -> None:
        """End the present run and start another; returns when the old one is gone.

        `reason` is one of few, since restarts are counted by it.
        """
        done = asyncio.Event()
        meant, sentence = self._child, restart_sentence(reason)

        async def act() -> None:
            # Another may have asked first; the child that was meant is gone then.
            if meant is not None and meant is self._child:
                await self._end_run(reason, sentence)
            done.set()

        self._ask(None, act)
        await self._or_the_end(done)

    async def stop(self) -> None:
        """End ComfyUI with everything it started; returns when nothing of it is left."""
        if self._owner is None:
            return
        self._ask(None, self._stop)
        await asyncio.wait({self._owner})

    # The owner

    async def _own(self) -> None:
        try:
            while self.snapshot.state != "stopped":
                run, act, arguments = await self._mailbox.get()
                if run in (None, self._run):
                    await act(*arguments)
        finally:
            if self._child is not None:
                await self._child.stop(0)
            await self._cancel_side_tasks()

    def _ask(self, run: int | None, act: _Act, *arguments: Any) -> None:
        self._mailbox.put_nowait((run, act, arguments))

    async def _or_the_end(self, done: asyncio.Event) -> None:
        assert self._owner is not None, "start() comes first"
        waiting = asyncio.create_task(done.wait())
        await asyncio.wait({waiting, self._owner}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def _owner_ended(self, owner: asyncio.Task[None]) -> None:
        if owner.cancelled() or self._gave_up.done():
            return
        failure = owner.exception()
        if failure is not None:
            self._gave_up.set_exception(failure)

    async def _begin(self) -> None:
        """Start a run, unless a stranger holds the port."""
        host, number = self._settings.direct_address, self._settings.comfyui_port_host
        if not await asyncio.to_thread(port.is_free, host, number):
            await self._wait_for_port(number)
            return
        self._count_restart()
        try:
            self._child = await self._spawn()
        except (OSError, ValueError) as failure:
            await self._over("crash", f"ComfyUI could not be started: {failure}.", 127)
            return
        detail = "ComfyUI is starting."
        self._tell(state="starting", reason="starting", detail=detail, pid=self._child.pid)
        self._beside(self._watch_end(self._child))
        self._beside(self._until_it_answers(self._child))

    async def _spawn(self) -> Child:
        settings = self._settings
        is_embedded = settings.engine_kind == "embedded"
        return await process.spawn(
            command.line(settings),
            cwd=None if is_embedded else settings.comfy_home,
            env=process.environment(
                os.environ, command.variables(settings), import_gateway=is_embedded
            ),
            on_line=self._on_line,
        )

    async def _wait_for_port(self, number: int) -> None:
        self._port_tries += 1
        who = await asyncio.to_thread(port.holder, number)
        detail = port.held_sentence(number, who)
        self._tell(state="starting", reason="comfyui_down", detail=detail, pid=None)
        delay = min(restart_delay(self._port_tries), _LONGEST_PORT_PAUSE_S)
        self._beside(self._begin_after(delay))

    def _count_restart(self) -> None:
        self._port_tries = 0
        reason, self._restart_reason = self._restart_reason, None
        if reason is not None:
            self._on_restart(reason)
            self.snapshot = replace(self.snapshot, restarts=self.snapshot.restarts + 1)

    async def _answered(self) -> None:
        self._tell(state="warming", reason="warming", detail="ComfyUI answers; warming up.")
        self._beside(self._warm())

    async def _warmed(self) -> None:
        self._ready_at = time.monotonic()
        self._record = self._record.ready()
        self._tell(state="ready", reason=None, detail=None, was_ready_once=True)
        self._beside(self._watch_answers())

    async def _ended(self, status: int) -> None:
        await self._over("crash", exit_sentence(status), status)

    async def _end_run(self, reason: str, sentence: str) -> None:
        assert self._child is not None
        status = await self._child.stop(self._timings.stop_grace_s)
        await self._over(reason, sentence, status)

    async def _over(self, reason: str, sentence: str, status: int) -> None:
        """Take note that a run is over, and plan the next."""
        await self._cancel_side_tasks()
        # What was asked about the run that is over, and not heard yet, is void.
        self._run += 1
        child, self._child = self._child, None
        ready_s = None if self._ready_at is None else time.monotonic() - self._ready_at
        self._ready_at, self._restart_reason = None, reason
        lines = "\n".join(child.last_lines) if child else ""
        ended: dict[str, Any] = {"pid": None, "exit_status": status, "last_lines": lines}
        if reason in PLANNED:
            # Nothing failed: no backoff, and no crash.
            self._tell(state="starting", reason="starting", detail=sentence, **ended)
            self._beside(self._begin_after(0))
            return
        self._record = self._record.ended(ready_s)
        by_itself = reason in ("crash", "startup_timeout")
        gives_up = by_itself and not self._settings.always_restart_comfyui
        detail = self._record.sentence(sentence, gives_up=gives_up)
        self._tell(state="crashed", reason="comfyui_down", detail=detail, **ended)
        if gives_up:
            self._gave_up.set_result(exit_code(status) if reason == "crash" else 1)
            return
        self._beside(self._begin_after(self._record.delay))

    async def _stop(self) -> None:
        await self._cancel_side_tasks()
        self._tell(state="draining", reason="draining", detail="ComfyUI is being stopped.")
        ended: dict[str, Any] = {}
        if self._child is not None:
            ended["exit_status"] = await self._child.stop(self._timings.stop_grace_s)
            self._child = None
        self._tell(state="stopped", detail="ComfyUI is stopped.", pid=None, **ended)

    def _tell(self, *, is_logged: bool = True, **changes: Any) -> None:
        """Replace the snapshot, and say so."""
        before, now = self.snapshot, replace(self.snapshot, **changes)
        if self._record.is_loop and now.reason in ("starting", "warming", "comfyui_down"):
            # It is one until a start reaches ready.
            now = replace(now, reason="crash_loop")
        if now.state != before.state:
            now = replace(now, since=time.time())
        self.snapshot = now
        (self._is_ready.set if now.reason is None else self._is_ready.clear)()
        if is_logged:
            log_change(before, now)
        for listener in self._listeners:
            listener(now)

    # Beside the owner: they look, and ask

    def _on_line(self, line: str) -> None:
        logger.info(line, source="comfyui")
        self.on_line(line)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)

    async def _cancel_side_tasks(self) -> None:
        tasks = list(self._side_tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_after(self, delay: float) -> None:
        run = self._run
        await asyncio.sleep(delay)
        self._ask(run, self._begin)

    async def _begin_after_install(self, install: Install) -> None:
        run = self._run
        try:
            await install(lambda detail: self._ask(run, self._show, detail))
        except errors.InstallFailed as failure:
            self._ask(run, self._give_up, failure)
        else:
            self._ask(run, self._begin)

    async def _give_up(self, failure: errors.InstallFailed) -> None:
        self._tell(reason="comfyui_down", detail=failure.message)
        self._gave_up.set_exception(failure)

    async def _watch_end(self, child: Child) -> None:
        run = self._run
        status = await child.wait()
        self._ask(run, self._ended, status)

    async def _until_it_answers(self, child: Child) -> None:
        run, limit = self._run, self._timings.start_timeout_s
        number = self._settings.comfyui_port_host
        hint_at = self._timings.hint_after_s
        async for waited_s in self._probe.until_it_answers():
            if limit is not None and waited_s > limit:
                sentence = f"ComfyUI did not answer within {limit:g} s."
                self._ask(run, self._end_run, "startup_timeout", sentence)
                return
            if waited_s >= hint_at:
                hint_at = waited_s + self._timings.hint_every_s
                detail = await self._still_starting(child, waited_s)
                self._ask(run, self._note, detail)
        if await asyncio.to_thread(port.owner, child.guardian_pid, number) == "stranger":
            who = await asyncio.to_thread(port.holder, number)
            sentence = port.held_sentence(number, who)
            self._ask(run, self._end_run, "port_taken", sentence)
            return
        self._ask(run, self._answered)

    async def _still_starting(self, child: Child, waited_s: float) -> str:
        host, number = self._settings.direct_address, self._settings.comfyui_port_host
        if self._settings.cmd:
            found = await asyncio.to_thread(port.listeners, child.guardian_pid)
            return port.missing_flag(found, host, number)
        last = f" Its last line: {child.last_lines[-1]}" if child.last_lines else ""
        return f"ComfyUI is still starting after {waited_s:.0f} s.{last}"

    async def _warm(self) -> None:
        run, failures = self._run, 0
        while True:
            try:
                await self._warm_up()
            except errors.GpuLost as lost:
                sentence = f"The GPU failed the warm-up: {lost.message}"
                self._ask(run, self._end_run, "gpu_lost", sentence)
                return
            except Exception as failure:  # noqa: BLE001 -- a guard: warm_up is not ours
                failures += 1
                delay = restart_delay(failures)
                detail = f"The warm-up failed: {_told(failure)}; next try in {delay:g} s."
                self._ask(run, self._note, detail)
                await asyncio.sleep(delay)
            else:
                self._ask(run, self._warmed)
                return

    async def _note(self, detail: str) -> None:
        self._tell(detail=detail)

    async def _show(self, detail: str) -> None:
        """Show what its teller has logged; what runs beside a ready ComfyUI is not its state."""
        if self.snapshot.reason is not None:
            self._tell(is_logged=False, detail=detail)

    async def _watch_answers(self) -> None:
        run = self._run
        async for missed, silent_s in self._probe.silences():
            if silent_s >= self._timings.stall_s:
                sentence = f"ComfyUI lives but did not answer for {silent_s:.0f} s."
                self._ask(run, self._end_run, "unresponsive", sentence)
                return
            self._ask(run, self._heard, missed >= self._timings.probes_missed)

    async def _heard(self, is_down: bool) -> None:
        if self.snapshot.state != "ready" or is_down == (self.snapshot.reason is not None):
            return
        if is_down:
            self._tell(reason="comfyui_down", detail="ComfyUI lives but does not answer.")
        else:
            self._tell(reason=None, detail=None)


def _told(failure: Exception) -> str:
    if isinstance(failure, errors.GatewayError):
        return failure.message.rstrip(".")
    return str(failure) or type(failure).__name__
