"""A child's life and death, with real processes and real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.comfy import process
from gateway.comfy.process import Child, environment, spawn
from tests.child_programs import Programs, can_connect, family, hosted, lives, programs
from tests.waiting import wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
FAMILY = ("--grandchild", "--daemon")


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Programs]:
    with programs(str(tmp_path)) as found:
        yield found


async def started(command: list[str], lines: list[str]) -> Child:
    return await spawn(command, cwd=None, env=os.environ, on_line=lines.append)


async def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    frozen = psutil.Process(pid)
    await wait_until(lambda: frozen.status() == psutil.STATUS_STOPPED, description="it is frozen")


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-u", "-c", code]


async def test_lines_arrive_and_status_is_passed_on() -> None:
    lines: list[str] = []
    child = await started(
        python("import sys; print('out'); sys.stderr.write('err'); sys.exit(7)"), lines
    )

    assert await child.wait() == 7
    assert sorted(lines) == ["err", "out"]
    assert list(child.last_lines) == lines


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_signal_that_ended_it_is_passed_on(number: signal.Signals) -> None:
    child = await started(python("import time; time.sleep(60)"), [])
    assert child.pid is not None
    os.kill(child.pid, number)

    assert await child.wait() == -number


async def test_a_command_that_does_not_exist_says_so() -> None:
    lines: list[str] = []
    child = await started(["/nowhere/comfy"], lines)

    assert await child.wait() == 127
    assert lines == ["Cannot run /nowhere/comfy: No such file or directory"]


async def test_a_flood_of_output_neither_blocks_nor_piles_up() -> None:
    count = 0

    def counted(_: str) -> None:
        nonlocal count
        count += 1

    code = "for i in range(100000): print('line', i)"
    child = await spawn(python(code), cwd=None, env=os.environ, on_line=counted)

    assert await child.wait() == 0
    assert count == 100000
    assert list(child.last_lines)[-1] == "line 99999"
    assert len(child.last_lines) == process.LAST_LINES


async def test_stop_ends_it_and_all_it_started(mine: Programs) -> None:
    lines: list[str] = []
    child = await started(mine.server(*FAMILY), lines)
    await wait_until(lambda: can_connect(mine.port), description="the port answers")

    assert await child.stop(10) == -signal.SIGTERM
    assert not can_connect(mine.port)
    assert not any(lives(pid) for pid in family(lines).values())


async def test_stop_kills_what_ignores_it(mine: Programs) -> None:
    child = await started(mine.server("--ignore-sigterm", *FAMILY), [])
    await wait_until(lambda: can_connect(mine.port), description="the port answers")
    began = time.monotonic()

    assert await child.stop(0.2) == -signal.SIGKILL
    assert 0.2 <= time.monotonic() - began < 5
    assert not mine.left()


async def test_stop_kills_what_is_frozen(mine: Programs) -> None:
    child = await started(mine.server(*FAMILY), [])
    assert child.pid is not None
    await wait_until(lambda: can_connect(mine.port), description="the port answers")
    await freeze(child.pid)

    assert await child.stop(0.1) == -signal.SIGKILL
    assert not mine.left()


async def test_stop_does_not_need_the_guardian(
    mine: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GUARDIAN_TIMEOUT_S", 0.1)
    child = await started(mine.server(*FAMILY), [])
    await wait_until(lambda: can_connect(mine.port), description="the port answers")
    await freeze(child.guardian_pid)

    assert await child.stop(0.1) == -signal.SIGKILL
    assert not mine.left()


async def test_a_crash_takes_its_helpers_along(mine: Programs) -> None:
    lines: list[str] = []
    child = await started(mine.server(*FAMILY), lines)
    await wait_until(lambda: can_connect(mine.port), description="the port answers")
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)

    assert await child.wait() == -signal.SIGKILL
    assert not mine.left()


@linux
async def test_the_guardian_cannot_be_killed_alone(mine: Programs) -> None:
    child = await started(mine.server(*FAMILY), [])
    await wait_until(lambda: can_connect(mine.port), description="the port answers")
    os.kill(child.guardian_pid, signal.SIGKILL)

    assert await child.wait() == -signal.SIGKILL
    assert not mine.left()
    assert not can_connect(mine.port)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("flags", [(), ("--ignore-sigterm", *FAMILY)], ids=["plain", "family"])
async def test_it_dies_with_the_gateway(
    mine: Programs, number: signal.Signals, flags: tuple[str, ...]
) -> None:
    with subprocess.Popen(mine.host(*flags), stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        pids = json.loads(await asyncio.to_thread(host.stdout.readline)).values()
        await wait_until(lambda: can_connect(mine.port), description="the port answers")
        assert all(lives(pid) for pid in pids)
        host.send_signal(number)
    await wait_until(lambda: not any(map(lives, pids)), description="all of them are gone")
    assert not can_connect(mine.port)


async def test_it_is_not_in_our_session_and_hears_no_interrupt_of_ours(mine: Programs) -> None:
    child = await started(mine.server(), [])
    assert child.pid is not None
    await wait_until(lambda: can_connect(mine.port), description="the port answers")

    assert len({os.getsid(pid) for pid in (os.getpid(), child.guardian_pid, child.pid)}) == 3
    await child.stop(10)


async def test_the_guardian_is_small(mine: Programs) -> None:
    child = await started(mine.server(), [])

    assert psutil.Process(child.guardian_pid).memory_info().rss < 14 * 1024 * 1024
    await child.stop(10)


async def test_the_child_keeps_none_of_our_descriptors() -> None:
    code = """if True:
        import json, os
        def is_open(fd):
            try:
                return os.fstat(fd)
            except OSError:
                return None
        print(json.dumps({str(fd): fd for fd in range(3, 256) if is_open(fd)}))
    """
    lines: list[str] = []
    child = await started(python(code), lines)
    assert await child.wait() == 0
    assert lines == ["{}"]

    host = await asyncio.to_thread(
        subprocess.run, hosted(python(code)), capture_output=True, check=True, text=True
    )
    assert json.loads(host.stdout).keys() == {"guardian"}


async def test_our_secrets_are_not_passed_on() -> None:
    ours = {"API_KEYS": "a:b", "webhook_secret": "s", "HTTP_AUTH_HEADER_VALUE": "x", "KEPT": "1"}
    found = environment(ours, {"MODEL_DIR": "/m"}, import_gateway=False)

    assert found == {"KEPT": "1", "MODEL_DIR": "/m", "PYTHONUNBUFFERED": "1"}


async def test_the_embedded_engine_is_found_from_anywhere(tmp_path: Path) -> None:
    env = environment(os.environ | {"PYTHONPATH": "/elsewhere"}, {}, import_gateway=True)
    lines: list[str] = []
    command = [sys.executable, "-m", "gateway.embedded", "--help"]
    child = await spawn(command, cwd=tmp_path, env=env, on_line=lines.append)

    assert await child.wait() == 0
    assert lines[0].startswith("usage: python -m gateway.embedded")
    assert env["PYTHONPATH"].endswith(os.pathsep + "/elsewhere")
