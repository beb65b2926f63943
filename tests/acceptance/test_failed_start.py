"""A start that fails midway ends, and takes what it had started with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.docs.running import ROOT, environment, free_port


def test_it_ends_and_leaves_no_engine_behind(tmp_path: Path) -> None:
    # The last part to be made reads a file; a folder in its place fails it.
    (tmp_path / "state_dir" / "salt").mkdir(parents=True)
    engine_port = free_port()
    ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(engine_port)}

    done = subprocess.run(
        (sys.executable, "-m", "gateway", "serve"),
        cwd=ROOT,
        env=environment(tmp_path, **ports),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode != 0
    assert "salt" in done.stderr
    engines = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(engine_port) in (process.info["cmdline"] or ())
    ]
    assert not engines
