"""The supervisor over real processes: starts, crashes, hangs, strangers, stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.comfy import model_paths, restart_plan
from gateway.config import Settings
from tests.child_programs import (
    QUICK,
    Programs,
    can_connect,
    free_port,
    lives,
    programs,
    supervised,
)
from tests.waiting import wait_until


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Programs]:
    with programs(str(tmp_path)) as found:
        yield found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart at once."""
    monkeypatch.setattr(restart_plan, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(restart_plan, "LONGEST_DELAY_S", 0.05)


async def test_from_start_to_stop(mine: Programs) -> None:
    async with supervised(mine.server("--startup-delay", "0.2"), mine.port) as it:
        assert (it.now.state, it.now.reason, it.now.was_ready_once) == (
            "starting",
            "starting",
            False,
        )
        await it.supervisor.wait_ready()
        pid = it.now.pid
        assert pid is not None
        assert lives(pid)
        assert (it.now.reason, it.now.detail, it.now.was_ready_once) == (None, None, True)

    assert it.states == ["starting", "warming", "ready", "draining", "stopped"]
    assert it.now.exit_status == -signal.SIGTERM
    assert not lives(pid)
    assert it.restarts == []


async def test_what_is_installed_first_is_shown_and_logged_by_its_teller_alone(
    mine: Programs,
) -> None:
    tellers = []

    async def install(tell: Callable[[str], None]) -> None:
        tellers.append(tell)
        tell("step 1 of 1")

    with capture_logs() as logged:
        async with supervised(mine.server(), mine.port, install=install) as it:
            await it.supervisor.wait_ready()
            tellers[0]("a model beside it")
            await it.supervisor.restart("manual")
            await it.supervisor.wait_ready()

    details = [found.detail for found in it.said]
    assert "step 1 of 1" in details
    assert "a model beside it" not in details
    assert not [entry for entry in logged if entry["event"] == "step 1 of 1"]


async def test_stop_before_it_answers(mine: Programs) -> None:
    async with supervised(mine.server("--startup-delay", "60"), mine.port) as it:
        await wait_until(lambda: it.now.pid, description="it was started")

    assert it.states == ["starting", "draining", "stopped"]


async def test_stop_while_it_is_being_restarted(mine: Programs) -> None:
    async with supervised(mine.server("--exit-code", "3"), mine.port) as it:
        await wait_until(lambda: it.now.state == "crashed", description="it crashed")

    assert it.now.state == "stopped"


@pytest.mark.usefixtures("impatient")
async def test_an_exit_with_0_is_a_crash_and_is_mended(mine: Programs) -> None:
    async with supervised(mine.server("--exit-after", "0.5"), mine.port) as it:
        await wait_until(lambda: it.now.restarts == 1, description="one restart")
        await it.supervisor.wait_ready()

    assert it.states[:6] == ["starting", "warming", "ready", "crashed", "starting", "warming"]
    crash = next(one for one in it.said if one.state == "crashed")
    assert crash.reason == "comfyui_down"
    assert crash.exit_status == 0
    assert crash.detail == "ComfyUI ended with exit code 0. It is started again in 0.01 s."
    assert crash.was_ready_once
    assert it.restarts[0] == "crash"


@pytest.mark.usefixtures("impatient")
async def test_killed_while_ready(mine: Programs) -> None:
    async with supervised(mine.server("--grandchild", "--daemon"), mine.port) as it:
        await it.supervisor.wait_ready()
        first = it.now.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: it.now.restarts == 1, description="one restart")
        await it.supervisor.wait_ready()
        assert it.now.pid != first


@pytest.mark.usefixtures("impatient")
async def test_a_crash_loop_is_named_with_its_last_words(mine: Programs) -> None:
    lines = [flag for n in range(60) for flag in ("--print", f"line {n}")]
    command = mine.server("--exit-code", "3", *lines)
    async with supervised(command, mine.port) as it:
        await wait_until(lambda: it.now.reason == "crash_loop", description="a crash loop")
        loop = it.now
        await wait_until(lambda: it.now.restarts > 5, description="it goes on trying")

    assert loop.detail == (
        "Crash loop: 5 starts in a row never became ready. "
        "ComfyUI ended with exit code 3. It is started again in 0.05 s."
    )
    assert loop.last_lines.splitlines()[:2] == ["line 11", "line 12"]
    assert len(loop.last_lines.splitlines()) == 50
    after = it.said[it.said.index(loop) :]
    assert {one.reason for one in after if one.state not in ("draining", "stopped")} == {
        "crash_loop"
    }
    assert not any(one.reason == "crash_loop" for one in it.said[: it.said.index(loop)])


async def test_a_command_that_cannot_be_run_is_a_crash(mine: Programs) -> None:
    async with supervised(["/nowhere/python"], mine.port) as it:
        await wait_until(lambda: it.now.state == "crashed", description="it crashed")
        assert it.now.detail is not None
        assert it.now.detail.startswith("ComfyUI ended with exit code 127: its command could not")
        assert it.now.last_lines == "Cannot run /nowhere/python: No such file or directory"


async def test_a_folder_that_is_missing_is_a_crash(mine: Programs, tmp_path: Path) -> None:
    settings = {"comfy_home": tmp_path / "nowhere", "engine": "comfyui"}
    async with supervised(mine.server(), mine.port, **settings) as it:
        await wait_until(lambda: it.now.state == "crashed", description="it crashed")
        assert "could not be started" in (it.now.detail or "")


@pytest.mark.parametrize(("status", "code"), [("0", 0), ("9", 9)])
async def test_without_restarts_the_exit_code_is_told(
    mine: Programs, status: str, code: int
) -> None:
    command = mine.server("--exit-code", status)
    async with supervised(command, mine.port, always_restart_comfyui=False) as it:
        assert await it.supervisor.wait_gave_up() == code
        assert it.now.state == "crashed"
        assert "ALWAYS_RESTART_COMFYUI=false" in (it.now.detail or "")

    assert it.restarts == []


async def test_without_restarts_a_signal_is_told_as_a_shell_does(mine: Programs) -> None:
    async with supervised(mine.server(), mine.port, always_restart_comfyui=False) as it:
        await it.supervisor.wait_ready()
        assert it.now.pid is not None
        os.kill(it.now.pid, signal.SIGKILL)
        assert await it.supervisor.wait_gave_up() == 137


@pytest.mark.usefixtures("impatient")
async def test_a_start_that_takes_too_long_is_given_up(mine: Programs) -> None:
    timings = replace(QUICK, start_timeout_s=0.3)
    async with supervised(mine.server("--startup-delay", "60"), mine.port, timings=timings) as it:
        await wait_until(lambda: it.restarts == ["startup_timeout"], description="a restart")

    crash = next(one for one in it.said if one.state == "crashed")
    assert (crash.detail or "").startswith("ComfyUI did not answer within 0.3 s.")


# Warm-up


@pytest.mark.usefixtures("impatient")
async def test_a_failed_warm_up_says_why_and_is_tried_again(mine: Programs) -> None:
    mended = asyncio.Event()

    async def warm_up() -> None:
        if not mended.is_set():
            raise ValueError("no such checkpoint")

    async with supervised(mine.server(), mine.port, warm_up=warm_up) as it:
        await wait_until(lambda: "checkpoint" in (it.now.detail or ""), description="it says why")
        assert (it.now.state, it.now.reason) == ("warming", "warming")
        mended.set()
        await it.supervisor.wait_ready()


@pytest.mark.usefixtures("impatient")
async def test_each_start_is_warmed_up_and_a_crash_ends_the_warm_up(mine: Programs) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def warm_up() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(0)

    async with supervised(mine.server(), mine.port, warm_up=warm_up) as it:
        await wait_until(lambda: begun, description="the warm-up began")
        assert it.now.pid is not None
        os.kill(it.now.pid, signal.SIGKILL)
        await it.supervisor.wait_ready()

    assert (begun, ended) == ([0, 1], [0])
    assert it.states[:5] == ["starting", "warming", "crashed", "starting", "warming"]


# Hangs


async def test_it_lives_but_does_not_answer_and_recovers(mine: Programs, tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    timings = replace(QUICK, probe_timeout_s=0.1)
    async with supervised(mine.server("--mute-while", str(mute)), mine.port, timings=timings) as it:
        await it.supervisor.wait_ready()
        mute.touch()
        await wait_until(lambda: it.now.reason, description="it is noticed")
        assert (it.now.state, it.now.reason) == ("ready", "comfyui_down")
        assert it.now.detail == "ComfyUI lives but does not answer."
        mute.unlink()
        await it.supervisor.wait_ready()

    assert it.restarts == []


@pytest.mark.usefixtures("impatient")
async def test_a_long_silence_is_a_hang(mine: Programs, tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    timings = replace(QUICK, probe_timeout_s=0.1, stall_s=0.6)
    command = mine.server("--mute-while", str(mute), "--ignore-sigterm")
    timings = replace(timings, stop_grace_s=0.1)
    async with supervised(command, mine.port, timings=timings) as it:
        await it.supervisor.wait_ready()
        first = it.now.pid
        assert first is not None
        mute.touch()
        await wait_until(lambda: it.now.state == "crashed", description="it is given up")
        mute.unlink()
        await it.supervisor.wait_ready()

    assert it.restarts == ["unresponsive"]
    assert not lives(first)


@pytest.mark.usefixtures("impatient")
async def test_a_restart_that_was_asked_for_happens_once(mine: Programs) -> None:
    async with supervised(mine.server(), mine.port) as it:
        await it.supervisor.wait_ready()
        first = it.now.pid
        assert first is not None
        await asyncio.gather(*(it.supervisor.restart("execution_stall") for _ in range(3)))
        assert not lives(first)
        await it.supervisor.wait_ready()
        assert it.now.pid != first

    assert it.restarts == ["execution_stall"]
    assert it.now.restarts == 1


async def test_a_planned_restart_is_no_crash(
    mine: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A delay that nobody waits for.
    monkeypatch.setattr(restart_plan, "FIRST_DELAY_S", 60.0)
    async with supervised(mine.server(), mine.port) as it:
        for reason in ("recycle_jobs", "recycle_rss"):
            await it.supervisor.wait_ready()
            await it.supervisor.restart(reason)
            assert it.now.reason == "starting"
        await it.supervisor.wait_ready()

    assert "crashed" not in it.states
    assert "ComfyUI is being restarted between two jobs: recycle_rss." in [
        one.detail for one in it.said
    ]
    assert it.restarts == ["recycle_jobs", "recycle_rss"]


# Strangers


async def test_it_waits_for_a_stranger_to_leave_the_port(mine: Programs) -> None:
    with subprocess.Popen(mine.server(), stdout=subprocess.DEVNULL) as stranger:
        await wait_until(lambda: can_connect(mine.port), description="the stranger listens")
        async with supervised(mine.server(), mine.port) as it:
            await wait_until(lambda: it.now.reason == "comfyui_down", description="it is noticed")
            assert it.now.state == "starting"
            assert it.now.pid is None
            detail = it.now.detail or ""
            assert f"Port {mine.port} is held by another program" in detail
            assert f"pid {stranger.pid}" in detail
            assert "COMFYUI_PORT_HOST" in detail
            stranger.kill()
            await it.supervisor.wait_ready()
            assert it.now.detail is None

    assert it.restarts == []


@pytest.mark.usefixtures("impatient")
async def test_a_stranger_that_takes_the_port_meanwhile_is_not_attached_to(mine: Programs) -> None:
    async with supervised(mine.server("--startup-delay", "60"), mine.port) as it:
        await wait_until(lambda: it.now.pid, description="it was started")
        with subprocess.Popen(mine.server(), stdout=subprocess.DEVNULL) as stranger:
            await wait_until(lambda: "crashed" in it.states, description="it is noticed")
            crash = next(one for one in it.said if one.state == "crashed")
            assert f"pid {stranger.pid}" in (crash.detail or "")
            assert "warming" not in it.states
            stranger.kill()


async def test_a_proxy_of_the_environment_is_not_used(
    mine: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with supervised(mine.server(), mine.port) as it:
        await it.supervisor.wait_ready()


# What an operator's own CMD may lack


@pytest.mark.parametrize(
    ("flags", "on_our_port", "told"),
    [
        ((), False, "--port ${COMFYUI_PORT_HOST}"),
        (("--listen", "127.0.0.2"), True, "--listen ${DIRECT_ADDRESS}"),
        (("--startup-delay", "60"), True, "nothing answers"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
async def test_a_flag_that_is_missing_is_named(
    mine: Programs, flags: tuple[str, ...], on_our_port: bool, told: str
) -> None:
    timings = replace(QUICK, hint_after_s=0.2, hint_every_s=0.2)
    command = mine.server(*flags, port=mine.port if on_our_port else free_port())
    async with supervised(command, mine.port, timings=timings) as it:
        await wait_until(lambda: told in (it.now.detail or ""), description=f"{told} is named")
        assert it.now.state == "starting"


# The embedded engine


async def test_the_embedded_engine_is_ready_soon(tmp_path: Path) -> None:
    names = ("state_dir", "cache_dir", "model_dir", "custom_nodes_dir")
    settings = {"engine": "embedded", **{name: tmp_path / name for name in names}}
    model_paths.prepare(Settings(**settings))
    async with supervised(None, free_port(), timings=None, **settings) as it:
        await it.supervisor.wait_ready()
        assert it.now.restarts == 0
