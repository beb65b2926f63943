"""The embedded engine misbehaving as its flags ask."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import psutil
import pytest

from .conftest import (
    STARTED_WITHIN_SECONDS,
    Connect,
    Running,
    answers,
    empty_image,
    kinds,
    ran,
    save,
    unique,
    wait_until,
)

Start = Callable[..., Running]


def graph(color: int = 1) -> dict[str, Any]:
    return {"1": empty_image(color), "2": save("1", unique())}


async def test_a_late_start(start: Start) -> None:
    began = time.monotonic()
    engine = start("--startup-delay", "0.5", wait=False)

    assert not answers(engine)
    wait_until(lambda: answers(engine), STARTED_WITHIN_SECONDS["embedded"], "an answer")
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(("flags", "code"), [((), 1), (("--exit-code", "0"), 0)])
async def test_a_crash_amid_a_prompt(
    start: Start, connected: Connect, flags: tuple[str, ...], code: int
) -> None:
    engine = start("--crash-after", "2", *flags)
    client = await connected(engine)
    await client.run(graph(1))

    await client.submit(graph(2))

    assert await asyncio.to_thread(engine.process.wait, 10) == code
    with pytest.raises(ConnectionError):
        await client.until_done("never")
    assert ran(client.frames) == ["1", "2", "1"]
    assert len(list((engine.base / "output").iterdir())) == 1


async def test_sigterm_ends_it_at_once(start: Start, connected: Connect) -> None:
    engine = start("--slow", "30")
    client = await connected(engine)
    await client.submit(graph())

    engine.process.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(engine.process.wait, 5) == -signal.SIGTERM


async def test_an_interrupt_from_the_keyboard_ends_it_clean(
    start: Start, connected: Connect
) -> None:
    engine = start("--slow", "30")
    client = await connected(engine)
    await client.submit(graph())

    engine.process.send_signal(signal.SIGINT)

    assert await asyncio.to_thread(engine.process.wait, 5) == 0
    assert not (engine.base / "temp").exists()


async def test_sigterm_can_be_ignored(start: Start, connected: Connect) -> None:
    engine = start("--ignore-sigterm")
    client = await connected(engine)

    engine.process.send_signal(signal.SIGTERM)

    await client.run(graph())
    assert engine.process.poll() is None


async def test_sockets_are_cut(start: Start, connected: Connect) -> None:
    client = await connected(start("--drop-ws", "4"))

    _, body = await client.submit(graph())
    with pytest.raises(ConnectionError):
        await client.until_done(body["prompt_id"])

    assert len(client.frames) == 4
    assert (await client.get("/prompt"))[0] == 200


async def test_sockets_fall_silent_and_stay_open(start: Start, connected: Connect) -> None:
    client = await connected(start("--mute-ws", "4"))

    _, body = await client.submit(graph())
    while body["prompt_id"] not in (await client.get("/history"))[1]:
        await asyncio.sleep(0)
    for _ in range(3):
        await client.next_frame()

    with pytest.raises(TimeoutError):
        await client.socket.receive(timeout=0.2)
    assert not client.socket.closed


async def test_nodes_take_their_time(start: Start, connected: Connect) -> None:
    client = await connected(start("--slow", "0.3"))
    began = time.monotonic()

    frames, _ = await client.run(graph())

    assert len(ran(frames)) == 2
    assert time.monotonic() - began >= 0.6


async def test_a_slow_node_can_be_interrupted(start: Start, connected: Connect) -> None:
    client = await connected(start("--slow", "30"))
    _, body = await client.submit(graph())
    await client.until(lambda frame: frame.get("type") == "executing")

    await client.post("/interrupt", {"prompt_id": body["prompt_id"]})

    assert "execution_interrupted" in kinds(await client.until_done(body["prompt_id"]))


async def test_http_stops_answering_at_a_prompt(start: Start, connected: Connect) -> None:
    engine = start("--hang-after", "2")
    client = await connected(engine)
    await client.run(graph(1))

    async def ask_for_ever() -> None:
        await client.submit(graph(2))
        while await client.get("/prompt"):
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask_for_ever(), 2)

    assert not await asyncio.to_thread(answers, engine)
    engine.process.terminate()
    assert await asyncio.to_thread(engine.process.wait, 5) == -signal.SIGTERM


@pytest.mark.parametrize(("flags", "good"), [(("--hang-node",), 0), (("--hang-node", "2"), 1)])
async def test_a_node_hangs_while_http_answers(
    start: Start, connected: Connect, flags: tuple[str, ...], good: int
) -> None:
    client = await connected(start(*flags))
    for color in range(good):
        await client.run(graph(color))

    _, body = await client.submit(graph(9))
    await client.until(lambda frame: frame.get("type") == "executing")
    await client.post("/interrupt", {"prompt_id": body["prompt_id"]})

    with pytest.raises(TimeoutError):
        await client.socket.receive(timeout=0.2)
    running = (await client.get("/queue"))[1]["queue_running"]
    assert [prompt[1] for prompt in running] == [body["prompt_id"]]


async def test_frames_hold_what_json_does_not_know(start: Start, connected: Connect) -> None:
    client = await connected(start("--nan-frames"))

    frames, entry = await client.run(graph())

    monitors = [frame["data"] for frame in frames if frame["type"] == "monitor"]
    assert monitors[0] is None
    assert math.isnan(monitors[1]["load"])
    assert math.isinf(monitors[1]["free"])
    assert math.isnan(entry["outputs"]["2"]["scores"][0])
    assert len(entry["outputs"]["2"]["images"]) == 1


async def test_an_old_core_knows_no_prompt_ids(start: Start, connected: Connect) -> None:
    client = await connected(start("--no-prompt-id", "--slow", "30"))

    _, body = await client.submit(graph(), prompt_id="mine")
    assert body["prompt_id"] != "mine"
    await client.until(lambda frame: frame.get("type") == "executing")
    await client.post("/interrupt", {"prompt_id": "somebody's"})

    assert "execution_interrupted" in kinds(await client.until_done(body["prompt_id"]))


async def test_flags_of_comfyui_are_accepted(start: Start, connected: Connect) -> None:
    flags = ("--cpu", "--normalvram", "--preview-method", "latent2rgb", "--fast", "a", "b")
    engine = start(*flags, "--listen", "127.0.0.1,127.0.0.2")
    client = await connected(engine)

    assert "--cpu --normalvram --fast a b" in engine.log.read_text()
    url = f"http://127.0.0.2:{engine.port}/prompt"
    async with client.session.get(url) as response:
        assert response.status == 200


async def test_a_port_that_is_taken_is_told(start: Start) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        engine = start("--port", str(holder.getsockname()[1]), wait=False)

        assert await asyncio.to_thread(engine.process.wait, 10) == 1
    assert "Cannot listen" in engine.log.read_text()


async def test_folders_are_taken_from_flags_and_files(
    start: Start, connected: Connect, session: aiohttp.ClientSession, tmp_path: Any
) -> None:
    nas = tmp_path / "nas"
    for name in ("ckpt/far.safetensors", "default/near.safetensors", "clips/c.pt", "odd/x.txt"):
        (nas / name).parent.mkdir(parents=True, exist_ok=True)
        (nas / name).write_bytes(b"")
    stale = tmp_path / "t" / "temp" / "stale.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    config = tmp_path / "extra.yaml"
    config.write_text(
        "nas:\n  base_path: nas\n  checkpoints: |\n    ckpt\n    default\n  clip: clips\n"
        "  custom_nodes: nodes\n  oddities: odd\nempty:\n"
    )
    more = tmp_path / "more.yaml"
    more.write_text(f"first:\n  is_default: true\n  loras: {nas}/ckpt\n")
    flags = ("--extra-model-paths-config", str(config), str(more))
    for name in ("input", "output"):
        flags += (f"--{name}-directory", str(tmp_path / name))
    engine = start(*flags, "--temp-directory", str(tmp_path / "t"))
    client = await connected(engine)

    checkpoints = (await client.get("/models/checkpoints"))[1]
    assert checkpoints == ["far.safetensors", "near.safetensors"]
    assert (await client.get("/models/loras"))[1] == ["far.safetensors"]
    assert (await client.get("/models/text_encoders"))[1] == ["c.pt"]
    assert (await client.get("/models/oddities"))[1] == ["x.txt"]
    assert (await client.get("/models"))[1][-1] == "oddities"
    assert not stale.exists()
    await client.run(graph())
    assert len(list((tmp_path / "output").iterdir())) == 1


async def test_memory_is_full_once(start: Start, connected: Connect) -> None:
    client = await connected(start("--oom-at", "1", "--fault-class", "SaveImage"))

    frames, _ = await client.run(graph(1))
    again, _ = await client.run(graph(2))

    [error] = [frame["data"] for frame in frames if frame["type"] == "execution_error"]
    assert (error["node_id"], error["exception_type"]) == ("2", "torch.OutOfMemoryError")
    assert "CUDA out of memory" in error["exception_message"]
    assert "execution_success" in kinds(again)


async def test_memory_is_full_until_it_was_freed(start: Start, connected: Connect) -> None:
    flags = ("--oom-until-freed", "1", "--fault-class", "SaveImage")
    engine = start(*flags)
    client = await connected(engine)
    for color in (1, 2):
        assert "execution_error" in kinds((await client.run(graph(color)))[0])

    await client.post("/free", {"unload_models": True, "free_memory": True})
    await client.run(
        {"1": empty_image(), "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    )
    frames, _ = await client.run(graph(3))

    assert "execution_success" in kinds(frames)
    assert "Memory was freed" in engine.log.read_text()


async def test_the_gpu_fails_from_a_prompt_on(start: Start, connected: Connect) -> None:
    client = await connected(start("--gpu-error-from", "2"))
    await client.run(graph(1))

    for color in (2, 3):
        frames, _ = await client.run(graph(color))
        [error] = [frame["data"] for frame in frames if frame["type"] == "execution_error"]
        assert error["exception_type"] == "torch.AcceleratorError"
        assert error["exception_message"].startswith("CUDA error: an illegal memory access")


async def test_nothing_runs_once_the_worker_has_ended(start: Start, connected: Connect) -> None:
    client = await connected(start("--end-worker", "1"))
    await client.run(graph(1))

    _, body = await client.submit(graph(2))

    queue = (await client.get("/queue"))[1]
    assert queue["queue_running"] == []
    assert [prompt[1] for prompt in queue["queue_pending"]] == [body["prompt_id"]]


async def test_memory_grows(start: Start, connected: Connect) -> None:
    engine = start("--leak-mb", "30")
    client = await connected(engine)
    before = psutil.Process(engine.process.pid).memory_info().rss

    for color in range(2):
        await client.run(graph(color))

    assert psutil.Process(engine.process.pid).memory_info().rss - before > 55 * 1024 * 1024
