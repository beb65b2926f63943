"""`bash run.sh` and its Docker commands, in front of programs that record their calls."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Host

FOLDERS = ("models", "output", "input", "cache", "custom_nodes", "state")
UP = "docker compose up -d --build"


def test_first_run_writes_settings_makes_folders_and_starts(gpu_host: Host) -> None:
    result = gpu_host.run()

    assert result.returncode == 0, result.stdout
    assert UP in gpu_host.calls()
    data = gpu_host.home / "data/comfyui"
    assert {folder.name for folder in data.iterdir()} == set(FOLDERS)
    models = {folder.name for folder in (data / "models").iterdir()}
    assert models >= {
        *("checkpoints", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision"),
        *("controlnet", "upscale_models", "style_models", "photomaker", "diffusers"),
    }


def test_settings_hold_a_random_key_and_absolute_paths(gpu_host: Host) -> None:
    gpu_host.run()

    settings = gpu_host.env_file()
    assert re.fullmatch(r"default:[0-9a-f]{48}", settings["API_KEYS"])
    assert settings["MODEL_DIR"] == f"{gpu_host.home}/data/comfyui/models"
    assert settings["PUID"] != "0"
    assert settings["PGID"] != "0"
    assert stat.S_IMODE((gpu_host.checkout / ".env").stat().st_mode) == 0o600


def test_two_hosts_get_two_keys(gpu_host: Host) -> None:
    gpu_host.run()
    first = gpu_host.env_file()["API_KEYS"]
    (gpu_host.checkout / ".env").unlink()
    gpu_host.run()

    assert gpu_host.env_file()["API_KEYS"] != first


def test_first_run_prints_a_curl_with_the_key(gpu_host: Host) -> None:
    printed = gpu_host.run().stdout

    key = gpu_host.env_file()["API_KEYS"].removeprefix("default:")
    assert f"curl -sS http://127.0.0.1:3001/prompt -H 'Authorization: Bearer {key}'" in printed
    assert "http://127.0.0.1:8188" in printed


def test_second_run_keeps_settings_and_does_not_repeat_the_key(gpu_host: Host) -> None:
    gpu_host.run()
    before = (gpu_host.checkout / ".env").read_bytes()
    again = gpu_host.run()

    assert again.returncode == 0, again.stdout
    assert (gpu_host.checkout / ".env").read_bytes() == before
    assert gpu_host.env_file()["API_KEYS"].removeprefix("default:") not in again.stdout
    assert gpu_host.calls().count(UP) == 2


def test_folders_come_from_the_settings(gpu_host: Host, tmp_path: Path) -> None:
    (gpu_host.checkout / ".env").write_text(
        f'API_KEYS=a:b\nMODEL_DIR="{tmp_path}/nas/models"\nOUTPUT_DIR=~/pictures\n'
    )
    result = gpu_host.run()

    assert result.returncode == 0, result.stdout
    assert (tmp_path / "nas/models/checkpoints").is_dir()
    assert (gpu_host.home / "pictures").is_dir()
    assert (gpu_host.checkout / "state").is_dir()


def test_a_folder_that_cannot_be_made_is_named(gpu_host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (gpu_host.checkout / ".env").write_text(f"API_KEYS=a:b\nSTATE_DIR={tmp_path}/file/state\n")
    result = gpu_host.run()

    assert result.returncode == 1
    assert f"STATE_DIR={tmp_path}/file/state cannot be made" in result.stdout


def test_settings_without_a_key_are_refused(gpu_host: Host) -> None:
    (gpu_host.checkout / ".env").write_text("API_KEYS=\n")
    result = gpu_host.run()

    assert result.returncode == 1
    assert "set API_KEYS=name:key" in result.stdout
    assert UP not in gpu_host.calls()


def test_no_docker_names_the_other_way(host: Host) -> None:
    result = host.run()

    assert result.returncode == 1
    assert "no Docker engine answers" in result.stdout
    assert "bash run.sh local" in result.stdout
    assert not (host.checkout / ".env").exists()


def test_an_engine_that_does_not_answer_is_quoted(gpu_host: Host) -> None:
    gpu_host.fake("docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    result = gpu_host.run()

    assert result.returncode == 1
    assert "no Docker engine answers (Cannot connect to the Docker daemon)" in result.stdout
    assert "bash run.sh local" in result.stdout


def test_missing_compose_plug_in_is_named(gpu_host: Host) -> None:
    gpu_host.fake("docker", 'if [ "$1" = compose ]; then exit 1; fi')

    assert "docker-compose-plugin" in gpu_host.run().stdout


def test_missing_driver_is_named(gpu_host: Host) -> None:
    (gpu_host.bin / "nvidia-smi").unlink()
    result = gpu_host.run()

    assert result.returncode == 1
    assert "nvidia-smi is missing" in result.stdout
    assert UP not in gpu_host.calls()


def test_a_driver_without_gpu_is_quoted(gpu_host: Host) -> None:
    gpu_host.fake("nvidia-smi", 'echo "No devices were found"; exit 6')
    result = gpu_host.run()

    assert result.returncode == 1
    assert "nvidia-smi finds no GPU: No devices were found" in result.stdout


def test_missing_container_toolkit_is_named(gpu_host: Host) -> None:
    gpu_host.fake("docker", 'if [ "$1" = info ]; then echo " Runtimes: runc"; fi')
    result = gpu_host.run()

    assert result.returncode == 1
    assert "NVIDIA Container Toolkit" in result.stdout
    assert UP not in gpu_host.calls()


def test_the_gpu_check_can_be_skipped(gpu_host: Host) -> None:
    (gpu_host.bin / "nvidia-smi").unlink()
    gpu_host.environ["SKIP_GPU_CHECK"] = "true"

    assert gpu_host.run().returncode == 0


def test_an_old_driver_is_pointed_out(gpu_host: Host) -> None:
    gpu_host.fake("nvidia-smi", 'echo "Tesla T4, 550.54.14, 15360 MiB"')
    result = gpu_host.run()

    assert result.returncode == 0
    assert "driver 550.54.14 is older than CUDA 13 wants (580)" in result.stdout


def test_it_waits_until_ready_and_tells_why_not_yet(gpu_host: Host, tmp_path: Path) -> None:
    gpu_host.fake("sleep")
    gpu_host.fake(
        "curl",
        f"cd {tmp_path}\n"
        "count=$(( $(cat count 2>/dev/null || echo 0) + 1 ))\n"
        "echo $count > count\n"
        "case $count in\n"
        "  1) printf '\\n000'; exit 7 ;;\n"
        '  2 | 3) printf \'%s\\n503\' \'{"reason":"starting","detail":"no answer yet"}\' ;;\n'
        "  *) printf 'ready\\n200' ;;\n"
        "esac",
    )
    result = gpu_host.run()

    assert result.returncode == 0, result.stdout
    assert "nothing listens on http://127.0.0.1:3001 yet" in result.stdout
    assert result.stdout.count(" s: starting: no answer yet\n") == 1
    assert (tmp_path / "count").read_text() == "4\n"


def test_waiting_has_an_end(gpu_host: Host) -> None:
    gpu_host.fake("curl", r"""printf '%s\n503' '{"reason":"comfyui_down"}'""")
    gpu_host.environ["READY_TIMEOUT_S"] = "0"
    result = gpu_host.run()

    assert result.returncode == 1
    assert "not ready after 0 s (comfyui_down)" in result.stdout


def test_a_container_that_dies_shows_its_last_lines(gpu_host: Host) -> None:
    gpu_host.fake(
        "docker",
        'case "$*" in\n'
        '  info) echo " Runtimes: nvidia" ;;\n'
        '  *"ps --all --quiet"*) echo 4711 ;;\n'
        "  inspect*) echo restarting ;;\n"
        '  "compose logs"*) echo "MAX_ATTEMPTS: not a number" ;;\n'
        "esac",
    )
    gpu_host.fake("curl", r"printf '\n000'; exit 7")
    result = gpu_host.run()

    assert result.returncode == 1
    assert "MAX_ATTEMPTS: not a number" in result.stdout
    assert "does not stay up" in result.stdout


def test_status_logs_and_down(gpu_host: Host) -> None:
    gpu_host.run()
    gpu_host.calls_file.unlink()

    status = gpu_host.run("status")
    assert status.returncode == 0
    assert status.stdout.endswith("ready\n")
    assert gpu_host.run("logs").returncode == 0
    assert gpu_host.run("down").returncode == 0
    compose = [call for call in gpu_host.calls() if call.startswith("docker compose")]
    assert "docker compose ps" in compose
    assert "docker compose logs --follow --tail 200 gateway" in compose
    assert compose[-1] == "docker compose down"


def test_status_fails_while_it_is_not_ready(gpu_host: Host) -> None:
    gpu_host.run()
    gpu_host.fake("curl", r"""printf '%s\n503' '{"reason":"draining"}'""")
    status = gpu_host.run("status")

    assert status.returncode == 1
    assert "not ready: draining" in status.stdout


def test_status_before_the_first_run(gpu_host: Host) -> None:
    status = gpu_host.run("status")

    assert status.returncode == 1
    assert "there is no .env yet" in status.stdout
