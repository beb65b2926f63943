"""Dockerfile, docker-compose.yml, env.example and scripts, by what can be checked unbuilt."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.config import Settings

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / ".venv/compose-spec/compose/config/compose_spec.json"
BIN = Path(sys.executable).parent
SCRIPTS = (
    "run.sh",
    ".ci/run",
    "scripts/comfyui",
    "scripts/docker.sh",
    "scripts/emulators.sh",
    "scripts/venv.sh",
)
DEFAULT = re.compile(r"\$\{(\w+):-((?:[^{}$]|\$\{[^{}]*\})*)\}")
# The image and compose settle these; an operator of a container has nothing to set there.
IN_CONTAINER = {
    *("HOST", "PORT", "LOG_FORMAT", "ENGINE", "COMFY_HOME", "COMFY_PYTHON", "DIRECT_ADDRESS"),
    *("COMFYUI_PORT_HOST", "TEMP_DIR"),
}
# Compose, ComfyUI or the libraries read these.
NOT_OURS = {
    *("PUID", "PGID", "BASE_IMAGE", "COMFYUI_VERSION", "STOP_GRACE_PERIOD"),
    *("CUDA_VISIBLE_DEVICES", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
}


def with_defaults(text: str) -> str:
    """Do what compose does to ${NAME:-default} when NAME is unset."""
    return DEFAULT.sub(lambda found: found[2], text)


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(with_defaults((ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def gateway(compose: Any) -> Any:
    return compose["services"]["gateway"]


def test_compose_follows_the_published_schema(compose: Any) -> None:
    if not SCHEMA.exists():
        pytest.skip("`bash run.sh test` fetches the compose-spec schema")
    schema = json.loads(SCHEMA.read_text())

    jsonschema.Draft201909Validator(schema).validate(compose)
    broken = {"services": {"gateway": {**compose["services"]["gateway"], "port": ["3001:3000"]}}}
    assert not jsonschema.Draft201909Validator(schema).is_valid(broken)


def test_ports(gateway: Any) -> None:
    assert gateway["ports"] == ["3001:3000", "127.0.0.1:8188:8188"]


def test_volumes_are_host_names_onto_the_container_paths_that_are_set(gateway: Any) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    mounted = dict(re.findall(r"- \$\{(\w+):-\./\w+\}:([^\s:]+)", text))

    assert mounted == {
        "MODEL_DIR": "/opt/ComfyUI/models",
        "OUTPUT_DIR": "/opt/ComfyUI/output",
        "INPUT_DIR": "/opt/ComfyUI/input",
        "CACHE_DIR": "/cache",
        "CUSTOM_NODES_DIR": "/opt/ComfyUI/custom_nodes",
        "WORKFLOW_DIR": "/workflows",
        "STATE_DIR": "/var/lib/comfy-gateway",
    }
    assert {name: gateway["environment"][name] for name in mounted} == mounted


def test_command_of_the_child(gateway: Any) -> None:
    command = gateway["environment"]["CMD"].split()

    assert command[0] == "comfyui"
    flags = dict(pairwise(command))
    assert flags["--listen"] == "0.0.0.0"
    assert flags["--port"] == gateway["environment"]["COMFYUI_PORT_HOST"]
    assert "--normalvram" in command
    environment = gateway["environment"]
    assert flags["--input-directory"] == environment["INPUT_DIR"]
    assert flags["--output-directory"] == environment["OUTPUT_DIR"]
    # ComfyUI appends "temp" to what it is told.
    assert f"{flags['--temp-directory']}/temp" == environment["TEMP_DIR"]
    extra = f"{environment['STATE_DIR']}/extra_model_paths.yaml"
    assert flags["--extra-model-paths-config"] == extra


def test_the_grace_period_outlasts_the_drain(gateway: Any) -> None:
    drain = Settings.model_fields["drain_timeout_s"].default

    assert float(gateway["stop_grace_period"].removesuffix("s")) > drain


def test_gpu_user_and_health(gateway: Any) -> None:
    (device,) = gateway["deploy"]["resources"]["reservations"]["devices"]

    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert gateway["user"] == "1000:1000"
    assert gateway["healthcheck"]["test"][-1].endswith("/live")
    assert gateway["env_file"] == ".env"


def test_dockerfile_and_compose_pin_the_same_versions(gateway: Any) -> None:
    pinned = dict(re.findall(r"^ARG (\w+)=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M))

    assert gateway["build"]["args"] == pinned
    example = (ROOT / "env.example").read_text()
    for name, value in pinned.items():
        assert f"# {name}={value}\n" in example


def test_dockerfile() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert any('"/usr/bin/tini"' in line for line in lines if line.startswith("ENTRYPOINT"))
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert not user.startswith(("0", "root"))
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True)


def test_the_context_holds_what_the_dockerfile_copies() -> None:
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M))
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)

    assert {name for line in copied for name in line.split()} == allowed


def test_every_script_passes_shellcheck() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "scripts").iterdir() if path.is_file()}

    assert found <= set(SCRIPTS)
    subprocess.run([BIN / "shellcheck", *SCRIPTS], cwd=ROOT, check=True)


def test_env_example_has_every_setting_and_no_other() -> None:
    text = (ROOT / "env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", text, re.M))
    settings = {field.upper() for field in Settings.model_fields}

    assert named == (settings - IN_CONTAINER) | NOT_OURS


def test_env_example_shows_the_defaults() -> None:
    shown = re.findall(r"^# ([A-Z_]+)=(.+)$", (ROOT / "env.example").read_text(), re.M)
    given = {name.lower(): value for name, value in shown if name not in NOT_OURS}
    defaults = Settings.model_construct()

    parsed = Settings.model_validate(given)
    for name in given:
        assert getattr(parsed, name) == getattr(defaults, name), name


def test_env_example_opens_the_private_ranges() -> None:
    line = "ALLOW_PRIVATE_NETWORKS=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16\n"

    assert line in (ROOT / "env.example").read_text()


def test_the_sample_prompt_is_one_the_recorded_comfyui_knows() -> None:
    recorded = ROOT.parent / "shared/data/object_info.json"
    if not recorded.exists():
        pytest.skip(f"no recorded data in {recorded.parent}")
    known = json.loads(recorded.read_text())["object_info"]
    body = json.loads((ROOT / "warmup/hello.json").read_text())

    for node in body["prompt"].values():
        inputs = known[node["class_type"]]["input"]
        assert set(node["inputs"]) == set(inputs["required"])
