"""What README tells a newcomer to do works."""

from __future__ import annotations

import asyncio
import re
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.docs.running import ROOT, running_gateway
from tests.listening import listening
from tests.waiting import wait_until
from tests.weights import safetensors

README = (ROOT / "README.md").read_text()
CURL = re.compile(r"curl -sS http://\S+:3000/prompt .*$", re.MULTILINE)


def told_by_run_sh() -> str:
    found = re.search(
        r"\"  (curl -sS http://.*)\" \\$", (ROOT / "run.sh").read_text(), re.MULTILINE
    )
    assert found
    return found[1].replace("$(url_host):$PORT", "127.0.0.1:3000")


def commands() -> dict[str, str]:
    quickstart = (ROOT / "docs" / "quickstart.md").read_text()
    [of_readme, *_], [of_quickstart] = CURL.findall(README), CURL.findall(quickstart)
    return {"README": of_readme, "quickstart": of_quickstart, "run.sh": told_by_run_sh()}


def test_the_curl_is_the_same_wherever_it_is_told() -> None:
    assert len(set(commands().values())) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_the_curl_shows_a_picture(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "warmup", tmp_path / "warmup")
    async with running_gateway(tmp_path) as gateway:
        assert await shown(commands()["README"], gateway.url, tmp_path) == (512, 512)
        # The picture alone is enough for another.
        command = CURL.findall(README)[2].replace("http://127.0.0.1:3000", gateway.url)
        process = await asyncio.create_subprocess_shell(command, cwd=tmp_path)
        assert await process.wait() == 0
    assert (tmp_path / "again.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_the_curl_with_a_model_by_url_shows_a_picture(tmp_path: Path, weights: str) -> None:
    shutil.copytree(ROOT / "warmup", tmp_path / "warmup")
    workflow = tmp_path / "warmup" / "model-by-url.json"
    # The same, but for the host: tests stay on this machine.
    text, count = re.subn(r"https://huggingface\.co/", weights, workflow.read_text())
    assert count == 1
    workflow.write_text(text)
    async with running_gateway(tmp_path, ALLOW_PRIVATE_NETWORKS="127.0.0.0/8") as gateway:
        command = CURL.findall(README)[1].replace("http://127.0.0.1:3000", gateway.url)
        process = await asyncio.create_subprocess_shell(command, cwd=tmp_path)
        assert await process.wait() == 0
    picture = (tmp_path / "lighthouse.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (512, 512)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_a_workflow_is_added_by_copying_two_files(tmp_path: Path) -> None:
    """Every command of README's page on named workflows that needs no model."""
    shutil.copytree(ROOT / "workflows", tmp_path / "workflows")
    first, *copies, second = re.findall(
        r"^    ((?:curl|cp) .*(?:/workflow/|workflows/hello).*)$", README, re.MULTILINE
    )
    assert len(copies) == 2
    assert f"{copies[1]}\n    sleep 1\n" in README, "all of it may be pasted at once"
    async with running_gateway(tmp_path, WORKFLOW_DIR=str(tmp_path / "workflows")) as gateway:
        assert await shown(first, gateway.url, tmp_path) == (512, 512)
        for command in copies:
            subprocess.run(command.split(), cwd=tmp_path, check=True)
        # "Live within a second": whoever types the next command is no faster.
        await wait_until(
            lambda: is_there(f"{gateway.url}/workflow/mine"), description="it is live", timeout=5
        )
        assert await shown(second, gateway.url, tmp_path) == (192, 192)


async def shown(command: str, url: str, folder: Path) -> tuple[int, int]:
    """Run a command of README's; return the size of the picture it leaves."""
    command = command.replace("http://127.0.0.1:3000", url)
    process = await asyncio.create_subprocess_shell(command, cwd=folder)
    assert await process.wait() == 0
    picture = (folder / "picture.png").read_bytes()
    assert picture.startswith(b"\x89PNG"), picture[:500]
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


async def is_there(url: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status == 200


@pytest_asyncio.fixture
async def weights() -> AsyncIterator[str]:
    """The address of a host that has small weights under every path."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=safetensors())

    async with listening(web.get("/{path:.*}", answer)) as url:
        yield f"{url}/"


def test_the_first_screen_holds_what_one_needs() -> None:
    first_screen = README.splitlines()[:36]
    commands = [line.strip() for line in first_screen if line.startswith("    ")]
    assert [line.split()[0] for line in commands] == ["bash", "curl", "bash", "bash"]
    assert [line for line in commands if line.startswith("bash")] == [
        "bash run.sh local",
        "bash run.sh",
        "bash run.sh test",
    ]
