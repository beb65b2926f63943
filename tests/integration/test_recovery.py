"""ComfyUI's worker ends, while its HTTP answers and takes prompts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway import metrics
from gateway.app import Gateway
from gateway.comfy import client, recovery
from gateway.comfy.troubles import Trouble
from gateway.config import Settings
from tests.acceptance.faulty import Place, picture
from tests.waiting import wait_until


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch, faults: str) -> Settings:
    """Return settings with an engine that misbehaves at its first start."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    place = Place(folder)
    return Settings(
        host="127.0.0.1",
        port=0,
        engine="comfyui",
        cmd=place.command("", faults),
        comfyui_port_host=place.engine_port,
        input_dir=folder / "input",
        output_dir=folder / "output",
        custom_nodes_dir=folder / "custom_nodes",
        cache_dir=folder / "cache",
        state_dir=folder / "state",
        model_dir=folder / "models",
    )


@asynccontextmanager
async def running(found: Settings) -> AsyncIterator[tuple[Gateway, str]]:
    """Serve in this process; yields where to send prompts."""
    gateway = Gateway(found)
    runner = web.AppRunner(gateway.application(), handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, found.host, found.port).start()
        await wait_until(lambda: gateway.is_ready, description="the engine is ready", timeout=30)
        yield gateway, f"http://127.0.0.1:{runner.addresses[0][1]}/prompt"
    finally:
        gateway.shutdown.ask()
        await runner.cleanup()


async def attempts(gateway: Gateway, url: str, name: str) -> int:
    """Run a prompt to its good end; return how many attempts that took."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"prompt": picture(), "id": name}) as answer,
    ):
        assert answer.status == 200, await answer.text()
    job = await gateway.store.get(name)
    assert job is not None
    return job.attempt


async def test_it_ends_over_an_error_of_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recovery.PATIENCE_S, Trouble.GPU_LOST, 1.0)
    faults = "--gpu-error-at 1 --end-worker 1"
    async with running(settings(tmp_path, monkeypatch, faults)) as (gateway, url):
        assert await attempts(gateway, url, "lost") == 2
        assert gateway.supervisor.snapshot.restarts == 1


async def test_it_ends_between_two_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WORKER_GONE_S", 1.0)
    async with running(settings(tmp_path, monkeypatch, "--end-worker 1")) as (gateway, url):
        assert await attempts(gateway, url, "first") == 1
        # ComfyUI never began it, so nothing is counted.
        assert await attempts(gateway, url, "second") == 1
        assert gateway.supervisor.snapshot.restarts == 1


async def test_a_gpu_that_fails_the_warm_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = tmp_path / "warmup.json"
    workflow.write_text(json.dumps(picture()))
    found = settings(tmp_path, monkeypatch, "--gpu-error-from 1")
    warmed = found.model_copy(update={"warmup_prompt_file": workflow})
    async with running(warmed) as (gateway, _):
        assert gateway.supervisor.snapshot.restarts == 1


async def test_a_frame_that_cannot_be_taken_is_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings(tmp_path, monkeypatch, "")) as (gateway, url):

        def refuse(frame: object) -> None:
            raise RuntimeError(frame)

        before = metrics.errors_total.labels("frame")._value.get()
        gateway.comfy.on_status = refuse
        assert await attempts(gateway, url, "first") == 1
        assert await attempts(gateway, url, "second") == 1
        assert metrics.errors_total.labels("frame")._value.get() > before
