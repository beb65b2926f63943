"""`comfyui` of the image, in front of a ComfyUI that prints its arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "scripts/comfyui"
OLD = 'vram_group.add_argument("--normalvram", action="store_true")\n'
NEW = 'vram_group.add_argument("--novram", action="store_true")\n'


@pytest.mark.parametrize(
    ("cli_args", "passed"), [(OLD, ["--normalvram"]), (NEW, [])], ids=["known", "dropped"]
)
def test_normalvram_is_passed_where_it_is_known(
    tmp_path: Path, cli_args: str, passed: list[str]
) -> None:
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy/cli_args.py").write_text(cli_args)
    (tmp_path / "main.py").write_text("import os, sys\nprint(os.getcwd(), *sys.argv[1:])\n")

    printed = subprocess.run(
        ["bash", LAUNCHER, "--port", "8188", "--normalvram", "--cpu"],
        env={
            "PATH": "/usr/bin:/bin",
            "COMFY_HOME": str(tmp_path),
            "COMFY_PYTHON": sys.executable,
            "STATE_DIR": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    user = tmp_path / "state/comfyui-user"
    assert user.is_dir()
    expected = [str(tmp_path), "--user-directory", str(user), "--port", "8188", *passed, "--cpu"]
    assert printed == expected
