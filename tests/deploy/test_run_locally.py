"""`bash run.sh local`: which Python, when pip is asked, which engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Host

PYTHON = (
    'case "$1 $2" in\n'
    '  "-V "*) echo Python 3.12.9 ;;\n'
    '  "-m venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python\n'
    '    echo "#!$PWD/.venv/bin/python" > .venv/bin/pip ;;\n'
    "esac"
)
PIP = "-m pip install --quiet --editable .[embedded]"
SERVE = "-m gateway serve"


@pytest.fixture
def python_host(host: Host) -> Host:
    """A host with a Python that records what it is asked to do."""
    host.fake("python3.12", PYTHON)
    return host


def asked(host: Host, what: str) -> int:
    return sum(what in call for call in host.calls())


def test_no_python_is_said(host: Host) -> None:
    result = host.run("local")

    assert result.returncode == 1
    assert "no Python 3.11 to 3.13 with venv on PATH" in result.stdout
    assert "python3-venv" in result.stdout


def test_a_shim_that_leads_nowhere_and_a_python_too_old_are_passed_over(host: Host) -> None:
    host.fake("python3.13", 'echo "python3.13: command not found" >&2; exit 127')
    host.fake("python3.12", "exit 1")
    host.fake("python3.11", PYTHON)
    result = host.run("local")

    assert result.returncode == 0, result.stdout
    assert "python3.11)" in result.stdout
    assert asked(host, "python3.11 -m venv") == 1


def test_pip_is_asked_once(python_host: Host) -> None:
    for _ in range(2):
        assert python_host.run("local").returncode == 0

    assert (asked(python_host, PIP), asked(python_host, SERVE)) == (1, 2)


def test_pip_is_asked_again_when_the_dependencies_changed(python_host: Host) -> None:
    python_host.run("local")
    with (python_host.checkout / "pyproject.toml").open("a") as project:
        project.write("# more\n")
    python_host.run("local")

    assert (asked(python_host, "-m venv"), asked(python_host, PIP)) == (1, 2)


def test_an_installation_that_failed_is_tried_again(python_host: Host) -> None:
    python_host.fake("python3.12", PYTHON.replace("esac", '  "-m pip") exit 1 ;;\nesac'))
    assert python_host.run("local").returncode == 1
    python_host.fake("python3.12", PYTHON)
    (python_host.checkout / ".venv/bin/python").unlink()

    assert python_host.run("local").returncode == 0
    assert asked(python_host, SERVE) == 1


def test_an_environment_of_another_place_is_made_anew(python_host: Host) -> None:
    python_host.run("local")
    python_host.checkout = python_host.checkout.rename(python_host.home / "elsewhere")
    python_host.run("local")

    assert (asked(python_host, "-m venv"), asked(python_host, PIP)) == (2, 2)


@pytest.mark.parametrize(
    ("environ", "engine"),
    [
        ({}, "engine: the embedded engine"),
        ({"COMFY_HOME": "/srv/ComfyUI"}, "engine: stock ComfyUI in /srv/ComfyUI"),
        ({"CMD": "python main.py --cpu"}, "engine: ComfyUI, started with: python main.py --cpu"),
        ({"COMFY_HOME": "/srv/ComfyUI", "ENGINE": "embedded"}, "engine: the embedded engine"),
    ],
)
def test_the_engine_is_said(python_host: Host, environ: dict[str, str], engine: str) -> None:
    python_host.environ.update(environ)

    assert engine in python_host.run("local").stdout


@pytest.mark.parametrize(
    ("environ", "url", "bound"),
    [
        ({}, "http://127.0.0.1:3000/prompt", "127.0.0.1"),
        ({"PORT": "4000"}, "http://127.0.0.1:4000/prompt", "127.0.0.1"),
        ({"HOST": "::"}, "http://127.0.0.1:3000/prompt", "::"),
        ({"HOST": "::1"}, "http://[::1]:3000/prompt", "::1"),
    ],
)
def test_it_binds_loopback_unless_told_otherwise(
    python_host: Host, environ: dict[str, str], url: str, bound: str
) -> None:
    python_host.fake("python3.12", f'echo "HOST=$HOST" >> "$CALLS"\n{PYTHON}')
    python_host.environ.update(environ)
    result = python_host.run("local")

    assert f"curl -sS {url}" in result.stdout
    assert f"HOST={bound}" in python_host.calls()


@pytest.mark.parametrize("setting", ["API_KEYS", "API_KEYS_FILE"])
def test_where_keys_are_set_it_says_how_to_send_one(python_host: Host, setting: str) -> None:
    assert "X-API-Key" not in python_host.run("local").stdout
    python_host.environ[setting] = "ann:first-key"
    told = python_host.run("local").stdout
    assert "once it is ready, with one of your keys, -H 'X-API-Key: ...':" in told
    assert "first-key" not in told


def test_no_settings_file_is_read_or_written(python_host: Host) -> None:
    python_host.run("local")
    assert not (python_host.checkout / ".env").exists()


def test_help_and_unknown_commands(host: Host) -> None:
    assert "usage: bash run.sh" in host.run("help").stdout
    unknown = host.run("sttaus")

    assert unknown.returncode == 1
    assert "there is no command 'sttaus'" in unknown.stdout
