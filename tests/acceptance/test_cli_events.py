"""The real command line submits without waiting, and follows jobs over their events."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.acceptance.test_cli import Ended, begin, empty_image, run, written
from tests.docs.running import ROOT, RunningGateway, free_port, running_gateway

FOLDERS = "--output-directory ${OUTPUT_DIR} --input-directory ${INPUT_DIR}"


def slow(seconds: float) -> str:
    """An engine whose nodes take their time: somebody can look on."""
    engine = f"{sys.executable} -m gateway.embedded --port ${{COMFYUI_PORT_HOST}}"
    return f"{engine} --slow {seconds} {FOLDERS}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    async with running_gateway(folder, CMD=slow(0.7), COMFY_QUEUE_DEPTH="1") as found:
        yield found


@pytest.fixture
def workflow(tmp_path: Path) -> str:
    return written(tmp_path / "workflow.json", empty_image())


async def sent(gateway: RunningGateway, workflow: str, *arguments: str) -> str:
    ended = await run(gateway.env, "submit", workflow, "--async", *arguments)
    assert (ended.status, ended.err) == (0, "")
    [job_id] = ended.lines
    return job_id


async def ahead(gateway: RunningGateway, count: int) -> None:
    """Queue jobs that come first."""
    async with aiohttp.ClientSession(headers={"Prefer": "respond-async"}) as session:
        for _ in range(count):
            body = {"prompt": empty_image()}
            async with session.post(f"{gateway.url}/prompt", json=body) as answer:
                assert answer.status == 202


async def record(gateway: RunningGateway, job_id: str) -> dict[str, Any]:
    url = f"{gateway.url}/jobs/{job_id}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.json()


async def ended(process: asyncio.subprocess.Process) -> Ended:
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


class TestSubmit:
    async def test_async_prints_the_id_and_does_not_wait(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        job_id = await sent(gateway, workflow, "--priority", "7")
        found = await record(gateway, job_id)
        assert found["priority"] == 7
        assert found["state"] in ("queued", "running")

    async def test_follow_saves_what_the_workflow_makes(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        arguments = ("--async", "--follow", "-o", str(tmp_path / "out"))
        found = await run(gateway.env, "submit", workflow, *arguments)
        assert found.status == 0, found.err
        [saved] = found.lines
        assert Path(saved).read_bytes().startswith(b"\x89PNG")
        told = found.err.splitlines()
        assert told[0].startswith("note: job ")
        assert (told[-1], "\x1b" in found.err) == ("succeeded", False)

    async def test_ctrl_c_leaves_a_followed_job_running(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        arguments = ("submit", workflow, "--async", "--follow", "-o", str(tmp_path))
        process = await begin(gateway.env, *arguments)
        assert process.stderr is not None
        job_id = (await process.stderr.readline()).decode().split()[-1]
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        found = await ended(process)
        assert (found.status, found.out) == (130, "")
        how = f"gateway jobs --url {gateway.url} watch {job_id}\n"
        assert found.err.endswith(f"note: It goes on; to watch it: {how}")
        assert (await run(gateway.env, "jobs", "watch", job_id)).status == 0

    async def test_follow_alone_says_what_it_goes_with(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        found = await run(gateway.env, "submit", workflow, "--follow")
        assert (found.status, found.out) == (1, "")
        assert found.err.startswith("error: --follow goes with --async.")

    async def test_a_webhook_makes_it_asynchronous(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        url = f"http://127.0.0.1:{free_port()}/"
        found = await run(gateway.env, "submit", workflow, "--webhook", url)
        # The gateway of this test reaches public addresses only, and says so before it accepts.
        assert (found.status, found.out) == (1, "")
        assert "ALLOW_PRIVATE_NETWORKS" in found.err


class TestWatch:
    async def test_lines_where_there_is_no_terminal(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        job_id = await sent(gateway, workflow)
        found = await run(gateway.env, "jobs", "watch", job_id)
        assert found.status == 0, found.err
        assert found.lines[-1] == "succeeded"
        assert f"{gateway.url}/jobs/{job_id}/outputs/0" in found.lines
        assert "\x1b" not in found.out + found.err
        again = await run(gateway.env, "jobs", "watch", job_id)
        assert (again.status, set(again.lines) <= set(found.lines)) == (0, True)

    async def test_json_lines(self, gateway: RunningGateway, workflow: str) -> None:
        found = await run(gateway.env, "jobs", "watch", await sent(gateway, workflow), "--json")
        events = [json.loads(line) for line in found.lines]
        ids = [int(event["id"]) for event in events]
        assert (ids, found.err) == (sorted(ids), "")
        assert {"state", "progress", "output"} <= {event["event"] for event in events}
        assert events[-1]["data"]["state"] == "succeeded"

    async def test_a_job_that_is_cancelled_meanwhile_and_one_that_nobody_knows(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        # One after the other, a while each: the last is there still when it is cancelled.
        await ahead(gateway, 5)
        job_id = await sent(gateway, workflow)
        watching = await begin(gateway.env, "jobs", "watch", job_id)
        assert watching.stdout is not None
        await watching.stdout.readline()
        url = f"{gateway.url}/jobs/{job_id}/cancel"
        async with aiohttp.ClientSession() as session, session.post(url) as answer:
            assert answer.status == 202
        found = await ended(watching)
        assert (found.status, found.lines[-1]) == (1, "cancelled")
        assert found.err == "error: The job was cancelled.\n"
        cancelled = await run(gateway.env, "jobs", "cancel", "nobody", job_id)
        assert (cancelled.status, cancelled.out) == (1, f"{job_id}: cancelled\n")
        assert cancelled.err == "error: There is no job 'nobody'.\n"

    async def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        job_id = await sent(gateway, workflow)
        raw, status = await in_terminal(gateway.env, "jobs", "watch", job_id)
        told = raw.decode()
        assert status == 0, told
        assert "━" in told
        assert f"{gateway.url}/jobs/{job_id}/outputs/0" in told
        assert "note: 1 output in " in told.splitlines()[-1]

    async def test_it_outlives_a_gateway_that_is_killed(self, tmp_path: Path) -> None:
        workflow = written(tmp_path / "workflow.json", empty_image())
        ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(free_port())}
        async with running_gateway(tmp_path, **ports, CMD=slow(60)) as first:
            job_id = await sent(first, workflow)
            watching = await begin(first.env, "jobs", "watch", job_id)
            assert watching.stdout is not None
            await watching.stdout.readline()
            first.process.kill()
            await first.process.wait()
        async with running_gateway(tmp_path, **ports):
            found = await ended(watching)
        assert (found.status, found.lines[-1]) == (0, "succeeded"), found.err
        assert "broke; trying again." in found.err


async def in_terminal(env: dict[str, str], *arguments: str) -> tuple[bytes, int]:
    """Run a command in a terminal; return what it wrote there and its exit status."""
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        cwd=ROOT,
        env={**env, "TERM": "xterm", "COLUMNS": "100"},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)

    def read() -> bytes:
        found = b""
        try:
            while piece := os.read(ours, 65536):
                found += piece
        except OSError:
            # How Linux tells that nobody writes any more.
            pass
        return found

    raw = await asyncio.to_thread(read)
    os.close(ours)
    return raw, await process.wait()
