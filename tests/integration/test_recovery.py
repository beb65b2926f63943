"""ComfyUI's worker ends over an error of the GPU, while its HTTP answers."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.app import Gateway
from gateway.comfy import recovery
from gateway.comfy.troubles import Trouble
from gateway.config import Settings
from tests.acceptance.faulty import Place, picture
from tests.waiting import wait_until


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    place = Place(tmp_path)
    return Settings(
        host="127.0.0.1",
        port=0,
        engine="comfyui",
        cmd=place.command("", "--gpu-error-at 1 --end-worker 1"),
        comfyui_port_host=place.engine_port,
        input_dir=tmp_path / "input",
        output_dir=tmp_path / "output",
        custom_nodes_dir=tmp_path / "custom_nodes",
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
        model_dir=tmp_path / "models",
    )


async def test_another_comfyui_takes_its_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recovery.PATIENCE_S, Trouble.GPU_LOST, 1.0)
    gateway = Gateway(settings)
    runner = web.AppRunner(gateway.application(), handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        await wait_until(lambda: gateway.is_ready, description="the engine is ready", timeout=30)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/prompt", json={"prompt": picture(), "id": "lost"}) as answer,
        ):
            assert answer.status == 200, await answer.text()
        job = await gateway.store.get("lost")
        assert job is not None
        assert job.attempt == 2
        assert gateway.supervisor.snapshot.restarts == 1
    finally:
        gateway.stopping.set()
        await runner.cleanup()
