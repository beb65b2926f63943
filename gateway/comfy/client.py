"""Speaks to ComfyUI: one pool, one WebSocket, every attempt known before it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from gateway import errors, graph, metrics
from gateway.comfy import events, listening
from gateway.comfy.attempt import Attempt, Execution
from gateway.comfy.calls import Calls
from gateway.comfy.early import Early
from gateway.comfy.forgetting import Forgetting
from gateway.comfy.nodes import Catalog
from gateway.comfy.observer import FileRef, Lately, Observer
from gateway.comfy.refusal import refused, without_tracebacks
from gateway.log import logger

#: Silence after which ComfyUI is asked how an attempt stands, seconds; then twice as long.
SILENCE_S = 3.0
_LONGEST_SILENCE_S = 30.0
#: ComfyUI's worker thread can end over an error between two prompts, while its HTTP goes on to
#: take more of them. Between two prompts it may unload models, which takes a while.
WORKER_GONE_S = 120.0


class Comfy:
    """The running ComfyUI, as jobs see it."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        catalog: Catalog,
        *,
        stall_s: float,
        on_hang: Callable[[str], Awaitable[None]],
    ) -> None:
        """`on_hang` restarts ComfyUI; `stall_s` without any change is a hang, seconds."""
        self.catalog = catalog
        self.client_id = uuid.uuid4().hex
        self._calls = Calls(url, session)
        self._stall_s = stall_s
        self._on_hang = on_hang
        self._attempts: dict[str, Attempt] = {}
        self._early = Early()
        self._running: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._connected = asyncio.Event()
        self._forgetting = Forgetting(self._calls)
        self._repairs: set[asyncio.Task[None]] = set()
        self._queue_seen: tuple[set[str], set[str]] | None = None
        self._alive_at = time.monotonic()
        self.on_free: Callable[[], None] = lambda: None
        self.on_leftovers: Callable[[list[FileRef]], None] = lambda _: None
        self._lately = Lately()
        #: Frames that are of no prompt.
        self.on_status: Callable[[events.Frame], None] = lambda _: None

    @property
    def is_connected(self) -> bool:
        """Whether prompts may be sent; a WebSocket that is being mended does not count."""
        return self._connected.is_set()

    @property
    def occupied(self) -> int:
        """How many prompts ComfyUI still has of ours, abandoned ones included."""
        return len(self._attempts)

    async def connect(self) -> None:
        """Open the WebSocket to a ComfyUI that just began to answer, and learn its classes."""
        await self.disconnect("ComfyUI was started anew.", last_lines="")
        self._tasks = [
            asyncio.create_task(listening.listen(self._connect, self), name="comfy-listen"),
            asyncio.create_task(self._watch(), name="comfy-watch"),
            asyncio.create_task(self._forgetting.run(), name="comfy-forget"),
        ]
        async with asyncio.timeout(60):
            await self._connected.wait()
            await self.refresh()

    async def disconnect(
        self, reason: str, *, last_lines: str = "", is_counted: bool = True
    ) -> None:
        """Give up every attempt, since the ComfyUI that ran them is gone.

        Those that had begun count, unless they are in no way to blame for that.
        """
        tasks, self._tasks = [*self._tasks, *self._repairs], []
        for task in tasks:
            task.cancel()
        # The tasks were asked to end; what they raise on the way is of no use to anyone.
        await asyncio.gather(*tasks, return_exceptions=True)
        self._connected.clear()
        attempts, self._attempts, self._running = self._attempts, {}, None
        self._forgetting.clear()
        for attempt in attempts.values():
            started = attempt.started and is_counted
            lost = errors.EngineLost(reason, started=started, last_lines=last_lines)
            attempt.fail(lost)
            attempt.over.set()
            self._leave(attempt)
        self.on_free()

    # What ComfyUI knows

    async def refresh(self, classes: set[str] | None = None) -> None:
        """Read /object_info anew, or only some classes of it."""
        if classes is None:
            self.catalog.replace(await self._calls.json("GET", "/object_info"))
            return
        for name in classes:
            if "/" not in name and name not in (".", ".."):
                self.catalog.update(await self._calls.json("GET", f"/object_info/{name}"))

    # Attempts

    async def execute(
        self,
        workflow: graph.Graph,
        extra_data: dict[str, Any],
        observer: Observer,
        prompt_id: str,
    ) -> Execution:
        """Run a graph and return what it produced.

        Raises InvalidGraph or NoOutput when ComfyUI refuses it, ExecutionFailed, JobCancelled,
        EngineLost. When cancelled, ComfyUI is told, and its place stays occupied until it obeys.
        """
        loop = asyncio.get_running_loop()
        attempt = Attempt(
            prompt_id,
            workflow,
            observer,
            metrics.observe_node,
            loop.create_future(),
            output_nodes=self.catalog.output_nodes(workflow),
        )
        if not self._connected.is_set():
            raise errors.EngineLost("ComfyUI is not connected.", started=False)
        # Registered before it is sent: its first frame may overtake the answer to the POST.
        if not self._attempts:
            self._alive_at = time.monotonic()
        self._attempts[prompt_id] = attempt
        try:
            with self._early.sending():
                await self._send(attempt, extra_data)
            execution = await attempt.result
            return replace(execution, node_errors=attempt.node_errors)
        except asyncio.CancelledError:
            self._beside(self._abandon(attempt))
            raise
        except BaseException:
            self._settled(attempt)
            raise
        finally:
            # Nobody may be left to hear a failure that comes after a cancellation.
            if attempt.result.done() and not attempt.result.cancelled():
                attempt.result.exception()
                self._settled(attempt)

    async def _send(self, attempt: Attempt, extra_data: dict[str, Any]) -> None:
        body = {
            "prompt": attempt.workflow,
            "prompt_id": attempt.prompt_id,
            "client_id": self.client_id,
            **({"extra_data": extra_data} if extra_data else {}),
        }
        post = asyncio.create_task(self._calls.prompt(orjson.dumps(body)))
        # ComfyUI may die, or be declared hung, before it answers.
        either: set[asyncio.Future[Any]] = {post, attempt.result}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not post.done() and attempt.result.done() and not attempt.result.exception():
            # Its last frame overtook the answer, which alone tells of outputs that were refused.
            await asyncio.wait({post}, timeout=SILENCE_S)
        if not post.done():
            post.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await post
            return
        try:
            status, answer = post.result()
        except (aiohttp.ClientError, OSError) as failure:
            await self._lost_answer(attempt, failure)
            return
        if status == 400:
            raise refused(answer)
        if status != 200:
            raise errors.ExecutionFailed(f"ComfyUI answered {status} when it was given the graph.")
        self._accepted(attempt, answer)

    async def _lost_answer(self, attempt: Attempt, failure: Exception) -> None:
        # Whether ComfyUI took the prompt is unknown: its queue tells, and when ComfyUI died the
        # supervisor will say so. The answer itself carries nothing that frames do not.
        logger.warning("comfyui did not answer a prompt", error=str(failure)[:200])
        attempt.last_change = min(attempt.last_change, time.monotonic() - SILENCE_S)

    def _accepted(self, attempt: Attempt, answer: dict[str, Any]) -> None:
        node_errors = answer.get("node_errors")
        if isinstance(node_errors, dict):
            attempt.node_errors = without_tracebacks(node_errors)
        given = answer.get("prompt_id")
        if isinstance(given, str) and given != attempt.prompt_id:
            # An old core chose a name of its own: frames will come under that one.
            self._attempts.pop(attempt.prompt_id, None)
            attempt.prompt_id = given
            self._attempts[given] = attempt
            for frame in self._early.of(given):
                self._take(frame)

    async def _abandon(self, attempt: Attempt) -> None:
        """See to it that ComfyUI ends a prompt nobody waits for; its place is taken till then."""
        pause = 0.1
        while not attempt.over.is_set() and attempt.prompt_id in self._attempts:
            try:
                await self._calls.interrupt(attempt.prompt_id)
                running, pending = await self._calls.queue()
                if attempt.prompt_id not in running | pending:
                    break
            except (aiohttp.ClientError, OSError, ValueError) as failure:
                logger.debug("could not interrupt", error=str(failure)[:200])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await attempt.over.wait()
            pause = min(pause * 2, 5.0)
        self._settled(attempt)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    def _settled(self, attempt: Attempt) -> None:
        if self._attempts.pop(attempt.prompt_id, None) is not None:
            self._forgetting.add(attempt.prompt_id, is_filed=attempt.over.is_set())
            self._lately.add(attempt.prompt_id, attempt.observer)
            self._leave(attempt)
            self.on_free()

    def _leave(self, attempt: Attempt) -> None:
        """Hand over the files of a run that nobody will collect."""
        result = attempt.result
        if not result.done() or result.cancelled() or result.exception() is not None:
            files = attempt.files()
            if files:
                self.on_leftovers(files)

    # Frames

    def _connect(self) -> AbstractAsyncContextManager[listening.Socket]:
        return self._calls.socket(self.client_id)

    async def opened(self, socket: listening.Socket) -> None:
        """See `listening.Hearer`."""
        self._socket = socket
        self._connected.set()
        await self._reconcile()

    def closed(self) -> None:
        """See `listening.Hearer`."""
        self._socket = None
        self.missed()

    def missed(self) -> None:
        """Note that frames were missed: the history tells what they did."""
        for attempt in self._attempts.values():
            attempt.has_gaps = True

    def take(self, message: aiohttp.WSMessage) -> None:
        """See `listening.Hearer`."""
        if message.type is aiohttp.WSMsgType.TEXT:
            frame = events.parse_text(message.data)
            if frame is not None:
                self._take(frame)
        elif message.type is aiohttp.WSMsgType.BINARY:
            self._take_binary(message.data)

    def _take_binary(self, data: bytes) -> None:
        attempt = self._attempts.get(self._running or "")
        if attempt is None:
            return
        attempt.last_change = self._alive_at = time.monotonic()
        if attempt.observer.wants_previews:
            preview = events.parse_binary(data)
            if preview is not None and preview.prompt_id in (None, attempt.prompt_id):
                attempt.take_preview(preview)

    def heard(self, line: str) -> None:
        """Take a line that ComfyUI wrote: it is of the prompt that runs."""
        attempt = self._attempts.get(self._running or "")
        if attempt is not None and not attempt.over.is_set():
            attempt.observer.on_line(line)

    def _take(self, frame: events.Frame) -> None:
        prompt_id = frame.prompt_id
        if prompt_id is None:
            self.on_status(frame)
            return
        self._alive_at = time.monotonic()
        if frame.type == "execution_start":
            self._running = prompt_id
        attempt = self._attempts.get(prompt_id)
        if attempt is None:
            self._early.keep(frame)
            self._lately.on_frame(prompt_id, frame)
            self._forgetting.on_frame(prompt_id, frame)
            return
        attempt.take(frame)
        if attempt.over.is_set() and not attempt.result.done():
            self._beside(self._repair(attempt))

    # Silence

    async def _watch(self) -> None:
        """Ask about attempts that went silent; never on the way of one that speaks."""
        asked: dict[str, float] = {}
        while True:
            await asyncio.sleep(SILENCE_S / 3)
            now = time.monotonic()
            silent = {
                attempt.prompt_id: now - attempt.last_change
                for attempt in self._attempts.values()
                if now - attempt.last_change >= SILENCE_S
            }
            asked = {key: at for key, at in asked.items() if key in silent}
            due = [key for key in silent if now >= asked.get(key, 0.0)]
            if due and await self._reconcile() and self._socket is not None:
                # It ended without a word to us: this connection is deaf.
                await self._socket.close()
            for key in due:
                asked[key] = now + min(max(silent[key], SILENCE_S), _LONGEST_SILENCE_S)
            if silent and time.monotonic() - self._alive_at >= self._patience_s:
                await self._on_hang("execution_stall")
                return

    @property
    def _patience_s(self) -> float:
        """How long nothing may change; less when prompts wait though none runs."""
        running, pending = self._queue_seen or (set(), set())
        return min(self._stall_s, WORKER_GONE_S) if pending and not running else self._stall_s

    async def _reconcile(self) -> int:
        """Compare what we wait for with /queue and /history; return how many endings we missed."""
        waiting = [found for found in self._attempts.values() if not found.over.is_set()]
        if not waiting:
            return 0
        try:
            async with asyncio.timeout(10):
                queue = await self._calls.queue()
                if queue != self._queue_seen:
                    self._queue_seen = queue
                    self._alive_at = time.monotonic()
                return sum([await self._stands(attempt, *queue) for attempt in waiting])
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
            logger.debug("comfyui did not say how its queue stands", error=str(failure)[:200])
            return 0

    async def _stands(self, attempt: Attempt, running: set[str], pending: set[str]) -> bool:
        """Take note of an attempt's place; return whether its ending had been missed."""
        if attempt.prompt_id in running | pending:
            attempt.started = attempt.started or attempt.prompt_id in running
            attempt.is_missing = False
            return False
        if await self._restored(attempt):
            logger.info("repaired a missed ending from history", prompt_id=attempt.prompt_id)
            return True
        if attempt.is_missing:
            attempt.fail(errors.EngineLost("ComfyUI lost the prompt.", started=attempt.started))
            attempt.over.set()
        # A prompt on its way in, or between queue and history, is not lost: look twice.
        attempt.is_missing = time.monotonic() - attempt.last_change >= SILENCE_S
        return False

    async def _repair(self, attempt: Attempt) -> None:
        """Read the outputs of a run whose frames came with gaps."""
        try:
            if await self._restored(attempt):
                return
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
            logger.debug("history was not readable", error=str(failure)[:200])
        attempt.over.clear()

    async def _restored(self, attempt: Attempt) -> bool:
        history = await self._calls.json("GET", f"/history/{attempt.prompt_id}")
        entry = history.get(attempt.prompt_id)
        if not isinstance(entry, dict):
            return False
        attempt.restore(entry)
        return True
