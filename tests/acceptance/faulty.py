"""A gateway of its own process in front of an engine that misbehaves on demand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.docs.running import ROOT, environment, free_port
from tests.waiting import wait_until

_ENGINE = (
    f"{sys.executable} -m gateway.embedded --listen ${{DIRECT_ADDRESS}}"
    " --port ${COMFYUI_PORT_HOST} --input-directory ${INPUT_DIR}"
    " --output-directory ${OUTPUT_DIR} --temp-directory ${TEMP_DIR}/.."
    " --extra-model-paths-config ${STATE_DIR}/extra_model_paths.yaml"
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Place:
    """Folders and ports that outlive a gateway."""

    folder: Path
    port: int = field(default_factory=free_port)
    engine_port: int = field(default_factory=free_port)

    @property
    def outputs(self) -> Path:
        return self.folder / "output"

    def written(self) -> list[str]:
        """Return the names of all output files; what stands beside them is not counted."""
        found = [path for path in self.outputs.rglob("*") if path.is_file()]
        return [path.name for path in found if path not in self.sidecars()]

    def sidecars(self) -> list[Path]:
        """Return the files that stand beside outputs."""
        return sorted(self.outputs.rglob("*.json"))

    def command(self, faults: str, first: str) -> str:
        """Return a CMD; the faults in `first` count for the first start alone."""
        once = self.folder / "first"
        once.write_text(first)
        return f"sh -c 'f=$(cat {once}); : > {once}; exec {_ENGINE} {faults} $f'"


@dataclass(frozen=True)
class Gateway:
    place: Place
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.place.port}{path}"
        async with self.session.request(method, url, json=body, headers=named) as found:
            is_json = found.content_type == "application/json"
            content = await (found.json() if is_json else found.read())
            return Answer(found.status, dict(found.headers), content)

    async def prompt(self, graph: dict[str, Any], **more: Any) -> Answer:
        return await self.ask("POST", "/prompt", {"prompt": graph, **more})

    def begin(self, graph: dict[str, Any], **more: Any) -> asyncio.Task[Answer]:
        """Send a prompt and do not wait for its answer."""
        return asyncio.create_task(self.prompt(graph, **more))

    async def submit(self, job_id: str, graph: dict[str, Any], **more: Any) -> None:
        """Send a prompt that is answered as soon as its job is on disk."""
        body = {"prompt": graph, "id": job_id, **more}
        answer = await self.ask("POST", "/prompt", body, Prefer="respond-async")
        assert answer.status == 202, answer.body

    def events_url(self, job_id: str, query: str = "") -> str:
        return f"http://127.0.0.1:{self.place.port}/jobs/{job_id}/events{query}"

    async def job(self, job_id: str) -> dict[str, Any]:
        found = await self.ask("GET", f"/jobs/{job_id}")
        return dict(found.body)

    async def jobs(self, state: str = "") -> list[dict[str, Any]]:
        found = await self.ask("GET", f"/jobs?state={state}" if state else "/jobs")
        return list(found.body["jobs"])

    async def until_state(self, job_id: str, *states: str, timeout: float = 15) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            found = await self.job(job_id)
            return found if found.get("state") in states else None

        wanted = f"job {job_id} is {' or '.join(states)}"
        return dict(await wait_until(reached, description=wanted, timeout=timeout))

    async def until_begun(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until ComfyUI began jobs, and return those that are running."""

        async def begun() -> list[dict[str, Any]]:
            found = [job for job in await self.jobs("running") if "started_at" in job]
            return found if len(found) >= count else []

        return list(await wait_until(begun, description="ComfyUI began a job"))

    async def until_jobs(self, count: int, state: str) -> list[dict[str, Any]]:
        async def there() -> list[dict[str, Any]]:
            found = await self.jobs(state)
            return found if len(found) == count else []

        return list(await wait_until(there, description=f"{count} jobs are {state}"))

    async def until_ready(self, timeout: float = 15) -> None:
        async def is_ready() -> bool:
            return (await self.ask("GET", "/ready")).status == 200

        await wait_until(is_ready, description="the gateway is ready", timeout=timeout)

    async def until_unready(self, words: str, timeout: float = 15) -> Answer:
        """Wait until /ready refuses with these words in its reason or detail."""

        async def refuses() -> Answer | None:
            found = await self.ask("GET", "/ready")
            told = f"{found.body.get('reason')} {found.body.get('detail')}"
            return found if found.status == 503 and words in told else None

        found = await wait_until(refuses, description=f"not ready: {words}", timeout=timeout)
        assert isinstance(found, Answer)
        return found

    async def engine_queue(self) -> tuple[int, int]:
        """Return how many prompts the engine runs, and how many wait in it."""
        queue = await self._engine_queue()
        return len(queue["queue_running"]), len(queue["queue_pending"])

    async def engine_runs(self, prompt_id: str) -> bool:
        """Whether the engine is at work on this prompt."""
        queue = await self._engine_queue()
        return prompt_id in {prompt[1] for prompt in queue["queue_running"]}

    async def _engine_queue(self) -> dict[str, Any]:
        async with self.session.get(f"http://127.0.0.1:{self.place.engine_port}/queue") as found:
            return await found.json()

    async def until_engine_free(self) -> None:
        async def is_free() -> bool:
            return await self.engine_queue() == (0, 0)

        await wait_until(is_free, description="ComfyUI has nothing to do")

    async def until_logged(self, words: str) -> None:
        log = self.place.folder / "gateway.log"
        await wait_until(lambda: words.encode() in log.read_bytes(), description=words)

    def engine(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(one for one in children if one.cmdline()[1:3] == ["-m", "gateway.embedded"])

    def kill_engine(self) -> None:
        self.engine().send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def exit_status(self, timeout: float = 15) -> int:
        return await asyncio.wait_for(self.process.wait(), timeout)

    async def die(self) -> None:
        """Kill it with -9, and wait until nothing holds the engine's port."""
        self.process.kill()
        await self.process.wait()
        await self.until_port_free()

    async def until_port_free(self) -> None:
        await wait_until(
            lambda: not is_listening(self.place.engine_port), description="no orphan listens"
        )


def is_listening(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


@contextlib.asynccontextmanager
async def gateway(
    place: Place, faults: str = "", *, first: str = "", ready: bool = True, **settings: str
) -> AsyncIterator[Gateway]:
    """Start a gateway, and kill it at the end if it still runs."""
    folders = {f"{name.upper()}_DIR": str(place.folder / name) for name in ("input", "output")}
    env = environment(
        place.folder,
        PORT=str(place.port),
        COMFYUI_PORT_HOST=str(place.engine_port),
        **{"CMD": place.command(faults, first), "ENGINE": "comfyui", **folders, **settings},
    )
    with (place.folder / "gateway.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve"), cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            found = Gateway(place, process, session)
            await _until_it_listens(found)
            if ready:
                await found.until_ready()
            yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def refused_start(place: Place, status: int, **settings: str) -> str:
    """Start one more gateway on a place, which ends by itself; return what it says."""
    ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(free_port())}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"),
        cwd=ROOT,
        env=environment(place.folder, **ports, **settings),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(process.communicate(), 20)
    text = told.decode()
    assert process.returncode == status, text
    assert "Traceback" not in text
    assert "does not start" in text
    return text


async def _until_it_listens(found: Gateway) -> None:
    def listens() -> bool:
        log = found.place.folder / "gateway.log"
        assert found.process.returncode is None, log.read_text()
        return is_listening(found.place.port)

    await wait_until(listens, description="the gateway listens", timeout=20)


def picture(color: int = 1, size: int = 16) -> dict[str, Any]:
    """Return a workflow of two nodes that makes one picture."""
    blank = {"width": size, "height": size, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": blank},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "p"}},
    }


def fill(folder: Path) -> Path:
    """Take all the room of a disk; return the file that does."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(4096))
    return path
