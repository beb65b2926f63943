"""`bash run.sh test` and `.ci/run`, in front of tools that record their calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Host

TOOLS = ("ruff", "mypy", "lint-imports", "shellcheck", "hadolint")
# A Python whose environments hold a copy of every tool of the folder tools/.
PYTHON = (
    'case "$1 $2" in\n'
    '  "-m venv") mkdir -p .venv/bin; cp tools/* .venv/bin; cp "$0" .venv/bin/python\n'
    '    echo "#!$PWD/.venv/bin/python" > .venv/bin/pip ;;\n'
    '  "-m pytest") echo "1 passed in 0.01s"; exit "${PYTEST_STATUS:-0}" ;;\n'
    "esac"
)


@pytest.fixture
def test_host(host: Host) -> Host:
    """A host with such a Python."""
    host.fake("python3.12", PYTHON)
    (host.checkout / "tools").mkdir()
    for tool in TOOLS:
        host.fake(tool, f'[ "{tool}" != "${{FAILING:-}}" ]')
        shutil.move(host.bin / tool, host.checkout / "tools" / tool)
    return host


def test_every_check_then_the_tests(test_host: Host) -> None:
    result = test_host.run("test", "-k", "some thing")

    assert result.returncode == 0, result.stdout
    called = [call.split()[0] for call in test_host.calls()]
    assert [name for name in called if name in TOOLS] == ["ruff", *TOOLS]
    assert test_host.calls()[-1] == "python3.12 -m pytest -n 3 --dist worksteal -k some thing"
    assert result.stdout.splitlines()[-1] == "1 passed in 0.01s"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_failing_check_fails_the_run_and_is_named(test_host: Host, tool: str) -> None:
    test_host.environ["FAILING"] = tool
    result = test_host.run("test")

    assert result.returncode == 1
    assert f"failed before the tests: {tool}" in result.stdout
    assert not any("-m pytest" in call for call in test_host.calls())
    assert any(call.startswith("hadolint") for call in test_host.calls())


def test_the_status_is_that_of_the_tests(test_host: Host) -> None:
    test_host.environ["PYTEST_STATUS"] = "5"

    assert test_host.run("test").returncode == 5


def test_a_missing_python_is_installed_by_root(test_host: Host) -> None:
    python = test_host.bin / "python3.12"
    hidden = test_host.home / "hidden"
    python.rename(hidden)
    test_host.fake("id", "echo 0")
    test_host.fake("apt-get", f'if [ "$1" = install ]; then cp {hidden} {python}; fi')
    result = test_host.run("test")

    assert result.returncode == 0, result.stdout
    assert "installing the Debian packages python3 and python3-venv" in result.stdout


def test_a_missing_python_is_said_to_others(test_host: Host) -> None:
    (test_host.bin / "python3.12").unlink()
    test_host.fake("id", "echo 1000")
    test_host.fake("apt-get")
    result = test_host.run("test")

    assert result.returncode == 1
    assert "no Python 3.11 to 3.13" in result.stdout
    assert not any(call.startswith("apt-get") for call in test_host.calls())


# Leaves behind what an installed package says of itself.
NPM = (
    "for last; do :; done; folder=.venv/azurite/node_modules/azurite; mkdir -p $folder\n"
    """echo '  "version": "'"${last##*@}"'",' > $folder/package.json"""
)


def npm_calls(host: Host) -> list[str]:
    return [call for call in host.calls() if call.startswith("npm ")]


def test_azurite_is_installed_once_and_into_the_checkout(test_host: Host) -> None:
    test_host.fake("npm", f'{NPM}\necho "cache=$npm_config_cache"')
    first, second = test_host.run("test"), test_host.run("test")

    assert (first.returncode, second.returncode) == (0, 0), first.stdout
    assert len(npm_calls(test_host)) == 1
    assert "--prefix .venv/azurite azurite@" in npm_calls(test_host)[0]
    assert f"cache={test_host.checkout}/.venv/npm" in first.stdout
    assert "Storage are skipped" not in first.stdout + second.stdout
    assert "installing azurite" not in second.stdout


def test_npm_is_installed_by_root(test_host: Host) -> None:
    test_host.fake("npm", NPM)
    npm = test_host.bin / "npm"
    hidden = npm.rename(test_host.home / "npm")
    test_host.fake("id", "echo 0")
    test_host.fake("apt-get", f'if [ "$1" = install ]; then cp {hidden} {npm}; fi')
    result = test_host.run("test")

    assert result.returncode == 0, result.stdout
    assert "installing the Debian packages nodejs and npm" in result.stdout
    assert len(npm_calls(test_host)) == 1


def test_without_npm_the_tests_run_and_say_what_they_skip(test_host: Host) -> None:
    test_host.fake("id", "echo 1000")
    result = test_host.run("test")

    assert result.returncode == 0, result.stdout
    assert "npm is missing: the tests of Azure Blob Storage are skipped" in result.stdout


def test_an_npm_that_fails_does_not_fail_the_run(test_host: Host) -> None:
    test_host.fake("npm", "exit 1")
    result = test_host.run("test")

    assert result.returncode == 0, result.stdout
    assert "the tests of Azure Blob Storage are skipped" in result.stdout


@pytest.mark.parametrize(("user", "is_installed"), [("0", True), ("1000", False)])
def test_clocks_that_jump(test_host: Host, user: str, is_installed: bool) -> None:
    script = test_host.checkout / "scripts/emulators.sh"
    script.write_text(script.read_text().replace("/usr/lib/", f"{test_host.home}/lib/"))
    folder = test_host.home / "lib/x/faketime"
    install = f"mkdir -p {folder}; : > {folder}/libfaketimeMT.so.1"
    test_host.fake("id", f"echo {user}")
    test_host.fake("apt-get", f'case "$*" in *libfaketime) {install} ;; esac')
    result = test_host.run("test")

    assert result.returncode == 0, result.stdout
    assert ("installing the Debian package libfaketime" in result.stdout) == is_installed
    assert ("tests of clocks that jump are skipped" in result.stdout) != is_installed


def test_ci_runs_the_same_from_anywhere(test_host: Host, tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / ".ci", test_host.checkout / ".ci")
    elsewhere = test_host.checkout.rename(tmp_path / "a path with spaces")
    subprocess.run(
        ["bash", elsewhere / ".ci/run"],
        cwd=tmp_path,
        env={"PATH": str(test_host.bin), "HOME": "/", "CALLS": str(test_host.calls_file)},
        stdin=subprocess.DEVNULL,
        check=True,
    )

    assert test_host.calls()[-1] == "python3.12 -m pytest -n 3 --dist worksteal"
