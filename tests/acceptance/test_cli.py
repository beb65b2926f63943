"""The real command line, against a real gateway."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.docs.running import ROOT, RunningGateway, environment, free_port, running_gateway
from tests.waiting import wait_until

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360f8cfc0f01f0005000201e2259b0d0000000049454e44ae426082"
)


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


async def begin(env: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        cwd=ROOT,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(env: dict[str, str], *arguments: str) -> Ended:
    process = await begin(env, *arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    assert "Traceback" not in err.decode()
    return Ended(process.returncode, out.decode(), err.decode())


def empty_image(**inputs: Any) -> dict[str, Any]:
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": 255, **inputs},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "cli"},
        },
    }


def canvas(**of_first: Any) -> dict[str, Any]:
    """Return `empty_image` as the canvas saves it."""
    return {
        "nodes": [
            {
                "id": 1,
                "type": "EmptyImage",
                "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
                "widgets_values": [16, 8, 1, 255],
                **of_first,
            },
            {
                "id": 2,
                "type": "SaveImage",
                "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
                "widgets_values": ["cli"],
            },
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "version": 0.4,
    }


def loading(*node_ids: str) -> dict[str, Any]:
    loaders: dict[str, Any] = {
        node_id: {"class_type": "LoadImage", "inputs": {"image": "none.png"}}
        for node_id in node_ids
    }
    saver = {
        "class_type": "SaveImage",
        "inputs": {"images": [node_ids[0], 0], "filename_prefix": "loaded"},
    }
    return {**loaders, "save": saver}


def written(path: Path, found: Any) -> str:
    path.write_text(json.dumps(found))
    return str(path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


class TestSubmit:
    @pytest.mark.parametrize("wrap", [lambda graph: graph, lambda graph: {"prompt": graph}])
    async def test_saves_what_the_workflow_makes(
        self, gateway: RunningGateway, tmp_path: Path, wrap: Any
    ) -> None:
        workflow = written(tmp_path / "workflow.json", wrap(empty_image()))
        ended = await run(gateway.env, "submit", workflow, "-o", str(tmp_path / "a" / "b"))
        assert (ended.status, ended.err) == (0, "")
        [saved] = ended.lines
        assert Path(saved).parent == tmp_path / "a" / "b"
        assert Path(saved).name.endswith("_cli_00001_.png")
        assert Path(saved).read_bytes().startswith(b"\x89PNG")
        assert list(Path(saved).parent.iterdir()) == [Path(saved)]

    async def test_every_output_is_saved(self, gateway: RunningGateway, tmp_path: Path) -> None:
        workflow = written(tmp_path / "workflow.json", empty_image())
        arguments = ("--set", "1.batch_size=3", "-o", str(tmp_path))
        ended = await run(gateway.env, "submit", workflow, *arguments)
        assert len({Path(line).name for line in ended.lines}) == 3

    async def test_set_changes_inputs(self, gateway: RunningGateway, tmp_path: Path) -> None:
        workflow = written(tmp_path / "workflow.json", empty_image())
        arguments = ("--set", "1.width=40", "--set", "2.filename_prefix=7", "-o", str(tmp_path))
        ended = await run(gateway.env, "submit", workflow, *arguments)
        [saved] = map(Path, ended.lines)
        assert saved.name.endswith("_7_00001_.png")
        assert saved.read_bytes()[16:20] == (40).to_bytes(4, "big")

    @pytest.mark.parametrize(
        ("whole", "asynchronously"),
        [(canvas(), ()), ({"prompt": canvas(), "priority": 3}, ("--async", "--follow"))],
    )
    async def test_what_the_canvas_saved_is_converted(
        self, gateway: RunningGateway, tmp_path: Path, whole: Any, asynchronously: tuple[str, ...]
    ) -> None:
        workflow = written(tmp_path / "workflow.json", whole)
        arguments = ("--set", "1.width=40", "-o", str(tmp_path), *asynchronously)
        ended = await run(gateway.env, "submit", workflow, *arguments)
        assert (ended.status, ended.err.count("was converted from the format")) == (0, 1)
        [saved] = map(Path, ended.lines)
        assert saved.read_bytes()[16:24] == (40).to_bytes(4, "big") + (8).to_bytes(4, "big")

    async def test_nodes_that_cannot_be_converted_are_named(
        self, gateway: RunningGateway, tmp_path: Path
    ) -> None:
        unknown = canvas(type="Blur", title="Soft", properties={"cnr_id": "comfyui-blur"})
        ended = await run(gateway.env, "submit", written(tmp_path / "w.json", unknown))
        assert (ended.status, ended.out) == (1, "")
        assert "node 1 'Soft' (Blur) of the custom node comfyui-blur: " in ended.err

    @pytest.mark.parametrize("prefix", ["", "load="])
    async def test_image_goes_into_the_node_that_loads_one(
        self, gateway: RunningGateway, tmp_path: Path, prefix: str
    ) -> None:
        (tmp_path / "in.png").write_bytes(PNG)
        workflow = written(tmp_path / "workflow.json", loading("load"))
        arguments = ("--image", f"{prefix}{tmp_path / 'in.png'}", "-o", str(tmp_path))
        ended = await run(gateway.env, "submit", workflow, *arguments)
        assert ended.status == 0, ended.err
        assert Path(ended.lines[0]).read_bytes()[16:24] == PNG[16:24]

    async def test_a_refused_workflow_says_what_to_change(
        self, gateway: RunningGateway, tmp_path: Path
    ) -> None:
        graph = empty_image()
        graph["1"]["class_type"] = "EmptyImagee"
        ended = await run(gateway.env, "submit", written(tmp_path / "w.json", graph))
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("error: Node 1 (EmptyImagee): ")
        assert "hint: The closest: EmptyImage" in ended.err

    async def test_outputs_that_are_gone_at_once_are_saved(self, tmp_path: Path) -> None:
        async with running_gateway(tmp_path, OUTPUT_TTL_S="0") as found:
            workflow = written(tmp_path / "workflow.json", empty_image())
            ended = await run(found.env, "submit", workflow, "-o", str(tmp_path / "out"))
        assert ended.status == 0, ended.err
        assert Path(ended.lines[0]).read_bytes().startswith(b"\x89PNG")

    async def test_ctrl_c_cancels_the_job(self, tmp_path: Path) -> None:
        engine = f"{sys.executable} -m gateway.embedded --port ${{COMFYUI_PORT_HOST}} --slow 30"
        folders = " --output-directory ${OUTPUT_DIR} --input-directory ${INPUT_DIR}"
        async with running_gateway(tmp_path, CMD=engine + folders) as found:
            workflow = written(tmp_path / "workflow.json", empty_image())
            submitting = await begin(found.env, "submit", workflow, "-o", str(tmp_path))
            async with aiohttp.ClientSession(found.url) as session:
                await wait_until(
                    lambda: _states(session, ["running"]), description="the job runs", timeout=20
                )
                submitting.send_signal(signal.SIGINT)
                _, err = await submitting.communicate()
                assert (submitting.returncode, err) == (130, b"")
                await wait_until(
                    lambda: _states(session, ["cancelled"]), description="the job is cancelled"
                )


async def _states(session: aiohttp.ClientSession, wanted: Sequence[str]) -> bool:
    async with session.get("/jobs") as answer:
        jobs = (await answer.json())["jobs"]
    return [job["state"] for job in jobs] == list(wanted)


class TestJobs:
    async def test_lists_shows_and_cancels(self, gateway: RunningGateway, tmp_path: Path) -> None:
        workflow = written(tmp_path / "workflow.json", empty_image())
        saved = await run(gateway.env, "submit", workflow, "-o", str(tmp_path))
        job_id = Path(saved.lines[0]).name.partition("_")[0]

        listed = await run(gateway.env, "jobs", "--limit", "1")
        assert listed.lines[0].split()[:2] == ["ID", "STATE"]
        assert listed.lines[1].split()[:2] == [job_id, "succeeded"]
        shown = json.loads((await run(gateway.env, "jobs", "show", job_id)).out)
        assert (shown["id"], len(shown["outputs"])) == (job_id, 1)
        cancelled = await run(gateway.env, "jobs", "cancel", job_id)
        assert cancelled.out == f"{job_id}: succeeded\n"

    async def test_an_unknown_job_is_named(self, gateway: RunningGateway) -> None:
        ended = await run(gateway.env, "jobs", "show", "no/such")
        assert (ended.status, ended.err) == (1, "error: There is no job 'no/such'.\n")

    async def test_a_key_is_sent_where_one_is_asked_for(self, tmp_path: Path) -> None:
        async with running_gateway(tmp_path, API_KEYS="ci:sesame") as found:
            refused = await run(found.env, "jobs")
            assert (refused.status, "GATEWAY_API_KEY" in refused.err) == (1, True)
            by_option = await run(found.env, "jobs", "--key", "sesame")
            by_variable = await run({**found.env, "GATEWAY_API_KEY": "sesame"}, "jobs")
            assert (by_option.status, by_variable.status) == (0, 0)


class TestUnreachable:
    @pytest.mark.parametrize(
        "arguments", [("jobs",), ("jobs", "cancel", "x"), ("submit", "w.json")]
    )
    async def test_it_says_where_it_looked(
        self, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        file = written(tmp_path / "w.json", empty_image())
        url = f"http://127.0.0.1:{free_port()}"
        given = [file if argument == "w.json" else argument for argument in arguments]
        ended = await run({**environment(tmp_path), "GATEWAY_URL": url}, *given)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith(f"error: No gateway can be reached at {url} ")
        assert "hint: Start one with `gateway serve`" in ended.err

    async def test_what_is_no_address_is_told(self, tmp_path: Path) -> None:
        env = {**environment(tmp_path), "GATEWAY_URL": "nonsense"}
        ended = await run(env, "jobs")
        assert (ended.status, ended.err.splitlines()[0]) == (
            1,
            "error: 'nonsense' is not an address.",
        )
