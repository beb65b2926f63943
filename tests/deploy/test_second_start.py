"""`bash run.sh local` of this checkout: how long until /ready, and a picture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crowding import kept_waiting_s
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def started(port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`bash run.sh local` of this checkout, with its data in FOLDER."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PORT": str(port),
        "COMFYUI_PORT_HOST": str(free_port()),
        "STATE_DIR": str(folder / "state"),
        "CACHE_DIR": str(folder / "cache"),
        "MODEL_DIR": str(folder / "models"),
        "CUSTOM_NODES_DIR": str(folder / "custom_nodes"),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "run.sh", "local"], cwd=ROOT, env=environ, stdout=log, stderr=log, text=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def seconds_until_ready(port: int, process: subprocess.Popen[str], log: Path) -> float:
    """Return what a start takes where nobody else uses the machine."""
    begin = time.monotonic()
    while time.monotonic() - begin < 30:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return time.monotonic() - begin - kept_waiting_s(process.pid)
        except urllib.error.HTTPError as answer:
            answer.close()
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError(log.read_text())


@pytest.fixture
def installed() -> None:
    """Skip where a start would call pip first."""
    if not (ROOT / ".venv/.installed-dev").exists():
        pytest.skip("`bash run.sh test` installs first")


@pytest.mark.usefixtures("installed")
def test_a_second_start_is_ready_within_two_seconds_and_draws(tmp_path: Path) -> None:
    taken = []
    for _ in range(3):
        port = free_port()
        with started(port, tmp_path) as process:
            taken.append(seconds_until_ready(port, process, tmp_path / "log"))
            picture = urllib.request.Request(
                f"http://127.0.0.1:{port}/prompt",
                data=(ROOT / "warmup/hello.json").read_bytes(),
                headers={"Content-Type": "application/json", "Accept": "image/png"},
            )
            with urllib.request.urlopen(picture, timeout=20) as answer:
                assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
    print(json.dumps({"seconds from `run.sh local` to /ready": [round(t, 2) for t in taken]}))

    assert "installing" not in (tmp_path / "log").read_text()
    assert min(taken) < 2
