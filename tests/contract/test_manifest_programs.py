"""Programs: their output, their end, and what they are not told."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from gateway import errors
from gateway.manifest.programs import LAST_LINES, Program, environment, masked, run
from tests.waiting import wait_until


def python(code: str, timeout_s: float = 20, **given: object) -> Program:
    return Program(command=[sys.executable, "-c", code], timeout_s=timeout_s, **given)  # type: ignore[arg-type]


async def test_its_lines_are_logged_and_the_last_are_kept() -> None:
    with capture_logs() as logged:
        lines = await run(python("for i in range(200): print('line', i)"))
    assert lines == [f"line {i}" for i in range(200 - LAST_LINES, 200)]
    told = [entry["event"] for entry in logged if entry.get("source") == "manifest"]
    assert told == [f"line {i}" for i in range(200)]


async def test_progress_bars_broken_characters_and_long_lines() -> None:
    code = r"import os; os.write(1, b'10%\r20%\n\n\xff\x1b[31mred\x1b[0m\nx' + b'y' * 100000)"
    found = await run(python(code))
    assert found[:3] == ["10%", "20%", "\ufffdred"]
    assert len(found[3]) <= 2000


async def test_a_failure_has_its_output() -> None:
    with pytest.raises(errors.InstallFailed, match="ended with status 3 after") as failure:
        await run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert set(failure.value.last_lines.splitlines()) == {"out", "err"}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/venv/bin/python3.11", "-m", "pip", "install", "x"], "pip"),
        (["/venv/bin/python", "install.py"], "install.py"),
        (["/venv/bin/python", "-c", "print()"], "python"),
        (["/usr/bin/git", "-C", "x"], "git"),
        (["python"], "python"),
    ],
)
def test_what_a_program_is_called(command: list[str], name: str) -> None:
    assert Program(command=command, timeout_s=1).name == name


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(errors.InstallFailed, match="cannot be run: No such file"):
        await run(Program(command=["/nowhere/program"], timeout_s=1))


#: Starts a child that ignores SIGTERM, tells its pid, and waits.
FAMILY = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', "
    "'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
    "time.sleep(600)'], stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "open(sys.argv[1], 'w').write(str(child.pid))\n"
)


def family(then: str, pid_file: Path, timeout_s: float) -> Program:
    return Program(
        command=[sys.executable, "-c", FAMILY + then, str(pid_file)], timeout_s=timeout_s
    )


async def gone(pid_file: Path) -> None:
    pid = int(pid_file.read_text())
    await wait_until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie",
        description="the grandchild is gone",
    )


async def test_time_runs_out_for_the_whole_family(tmp_path: Path) -> None:
    with pytest.raises(errors.InstallFailed, match="did not end within 2 s"):
        await run(family("time.sleep(600)", tmp_path / "pid", timeout_s=2))
    await gone(tmp_path / "pid")


async def test_a_cancel_ends_the_whole_family(tmp_path: Path) -> None:
    running = asyncio.create_task(run(family("time.sleep(600)", tmp_path / "pid", timeout_s=60)))
    await wait_until((tmp_path / "pid").exists, description="the family runs")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await gone(tmp_path / "pid")


async def test_what_it_leaves_behind_is_ended(tmp_path: Path) -> None:
    await run(family("pass", tmp_path / "pid", timeout_s=60))
    await gone(tmp_path / "pid")


async def test_nobody_is_asked() -> None:
    assert await run(python("import sys; print(repr(sys.stdin.read()))")) == ["''"]


async def test_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEYS", "WEBHOOK_SECRET", "AWS_SECRET_ACCESS_KEY", "GIT_DIR", "MANIFEST_JSON"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("HF_TOKEN", "kept")
    found = environment({"ADDED": "1"})
    assert "planted" not in found.values()
    assert (found["HF_TOKEN"], found["ADDED"]) == ("kept", "1")
    assert found["PATH"] == os.environ["PATH"]


async def test_secrets_are_masked_in_the_output_and_in_the_command() -> None:
    code = "print('https://me:planted@h/x?token=planted&a=1 and planted')"
    with capture_logs() as logged:
        lines = await run(python(code, secrets=["planted"]))
    assert lines == ["https://***@h/x?token=***&a=1 and ***"]
    assert "planted" not in str(logged)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("git+https://token@h/o/r@v1", "git+https://***@h/o/r@v1"),
        ("https://h/x?sig=abc&X-Amz-Signature=def", "https://h/x?sig=***&X-Amz-Signature=***"),
        ("numpy==1.2", "numpy==1.2"),
        ("git@github.com:o/r", "git@github.com:o/r"),
    ],
)
def test_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_no_shell_anywhere() -> None:
    room = Path(__file__).parents[2] / "gateway" / "manifest"
    text = "\n".join(path.read_text() for path in room.glob("*.py"))
    for forbidden in (
        "shell=",
        "os.system",
        "popen",
        "subprocess_shell",
        '"sh"',
        "bash",
        '"-c", f',
    ):
        assert forbidden not in text
