"""The command line that ComfyUI is launched with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.comfy import command
from gateway.config import Settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to stand in; folders that are not named lie below it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stock_comfyui(bare: Path) -> None:
    words = command.line(Settings(comfy_home=bare / "comfy home", temp_dir=Path("scratch")))

    assert words[:2] == ["python3", "main.py"]
    assert words[words.index("--temp-directory") + 1] == str(bare / "scratch")


def test_the_embedded_engine() -> None:
    words = command.line(Settings(comfyui_port_host=9))

    assert words[:3] == [sys.executable, "-m", "gateway.embedded"]
    assert words[3:7] == ["--listen", "127.0.0.1", "--port", "9"]


def test_the_operator_s_own(bare: Path) -> None:
    own = "run ${INPUT_DIR} '$OUTPUT_DIR b' $UNKNOWN --port=${COMFYUI_PORT_HOST}"
    words = command.line(Settings(cmd=own, comfyui_port_host=9))

    assert words == ["run", f"{bare}/state/input", f"{bare}/state/output b", "$UNKNOWN", "--port=9"]


def test_folders_with_blanks_stay_one_word() -> None:
    words = command.line(Settings(cmd="run --in ${INPUT_DIR}", input_dir=Path("/a b/it's")))

    assert words == ["run", "--in", "/a b/it's"]
