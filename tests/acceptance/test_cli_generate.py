"""`gateway generate`, `reproduce` and `workflows`: the real commands, against one real gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image

from tests.acceptance.test_cli import Ended, begin, canvas, loading, run, written
from tests.docs.running import (
    RunningGateway,
    environment,
    free_port,
    running_gateway,
    stopped_engine,
)
from tests.embedding import png
from tests.listening import listening
from tests.sampling import put_model, sampler
from tests.waiting import wait_until
from tests.weights import safetensors

PORTRAIT = """\
description: A portrait.
parameters:
  prompt: {type: string, required: true, bind: 6.inputs.text}
  seed: {type: seed, default: random, bind: 3.inputs.seed}
  steps: {type: integer, default: 2, min: 1, max: 50, bind: 3.inputs.steps}
  sampler_name: {type: enum, choices: [euler, dpmpp_2m], bind: 3.inputs.sampler_name}
"""
RETOUCH = """\
parameters:
  person: {type: image, required: true, bind: load.inputs.image}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    put_model(folder / "models")
    (folder / "models" / "loras").mkdir()
    (folder / "models" / "loras" / "style.safetensors").write_bytes(safetensors(seed=1))
    workflows = folder / "workflows"
    (workflows / "people").mkdir(parents=True)
    written(workflows / "people" / "portrait.json", sampler(1))
    (workflows / "people" / "portrait.yaml").write_text(PORTRAIT)
    written(workflows / "retouch.json", loading("load"))
    (workflows / "retouch.yaml").write_text(RETOUCH)
    settings = {"MODEL_DIR": str(folder / "models"), "WORKFLOW_DIR": str(workflows)}
    async with running_gateway(folder, **settings) as found:
        yield found


async def generate(gateway: RunningGateway, *arguments: str) -> Ended:
    return await run(gateway.env, "generate", *arguments)


async def told(gateway: RunningGateway, *arguments: str) -> dict[str, Any]:
    """Run with --json and return its document, the one thing on standard output."""
    ended = await generate(gateway, "--json", *arguments)
    assert ended.status == 0, ended.err
    return json.loads(ended.out)


async def is_read(gateway: RunningGateway) -> bool:
    """Whether somebody follows a job."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.url}/metrics") as answer,
    ):
        return "comfy_gateway_sse_readers 1.0" in await answer.text()


def size(file: str | Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


@pytest.fixture
def workflow(tmp_path: Path) -> str:
    return written(tmp_path / "text_to_image.json", {**sampler(1), "_workflow_metadata": {}})


class TestNamed:
    async def test_flags_become_parameters_and_the_sidecar_stands_beside(
        self, gateway: RunningGateway, tmp_path: Path
    ) -> None:
        output = tmp_path / "out" / "face.png"
        flags = ("-p", "a face", "--seed", "42", "--sampler", "dpmpp_2m", "--set", "steps=3")
        found = await told(gateway, "-w", "people/portrait", *flags, "-o", str(output))
        assert (found["files"], found["seed"]) == ([str(output)], 42)
        assert found["input"] == {
            "prompt": "a face",
            "seed": 42,
            "steps": 3,
            "sampler_name": "dpmpp_2m",
        }
        sidecar = json.loads((tmp_path / "out" / "face.png.json").read_text())
        assert (sidecar["prompt"], sidecar["seed"]) == ("a face", 42)
        assert (sidecar["workflow"], sidecar["job_id"]) == ("people/portrait", found["job_id"])

    async def test_dry_run_prints_the_graph_and_says_what_changed(
        self, gateway: RunningGateway
    ) -> None:
        flags = ("-p", "a face", "--preset", "draft", "--set", "steps=3")
        ended = await generate(gateway, "-w", "people/portrait", *flags, "--dry-run")
        assert ended.status == 0, ended.err
        inputs = json.loads(ended.out)["3"]["inputs"]
        assert (inputs["steps"], inputs["cfg"]) == (3, 5.0)
        assert 'changed: 6.inputs.text: "a" -> "a face"' in ended.err.splitlines()

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (("--cfg", "7"), "error: The workflow has no parameter for --cfg.\nhint: Its"),
            (("--set", "steps=many"), 'error: steps: "many" is not an integer.\nhint: '),
            (("--preset", "quick"), "error: "),
        ],
    )
    async def test_what_fits_no_parameter(
        self, gateway: RunningGateway, flags: tuple[str, ...], says: str
    ) -> None:
        ended = await generate(gateway, "-w", "people/portrait", "-p", "a", *flags)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith(says), ended.err

    async def test_an_unknown_name_is_told_with_the_closest(self, gateway: RunningGateway) -> None:
        ended = await generate(gateway, "-w", "people/portrai")
        assert (ended.status, "people/portrait" in ended.err) == (1, True)

    async def test_a_picture_is_resized_for_the_only_image_parameter(
        self, gateway: RunningGateway, tmp_path: Path
    ) -> None:
        Image.new("RGB", (90, 30), "red").save(tmp_path / "in.png")
        flags = (
            "--input-image",
            str(tmp_path / "in.png"),
            "--resize",
            "32x16",
            "--crop",
            "contain",
        )
        found = await told(gateway, "-w", "retouch", *flags, "-o", str(tmp_path / "out.webp"))
        assert size(found["files"][0]) == (32, 16)
        assert Path(found["files"][0]).read_bytes()[8:12] == b"WEBP"


class TestFile:
    async def test_flags_are_written_where_its_sampler_is(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        flags = (
            "--prompt",
            "a cat",
            "--steps",
            "2",
            "--width",
            "32",
            "--set",
            "9.filename_prefix=x",
        )
        more = ("--preset", "draft", "--lora", "style.safetensors:0.5", "--seed", "random")
        found = await told(gateway, "-w", workflow, *flags, *more, "-o", str(tmp_path / "out"))
        [file] = found["files"]
        sidecar = json.loads(Path(f"{file}.json").read_text())
        # A flag wins over the preset, and the preset over the file.
        assert (sidecar["steps"], sidecar["cfg"], sidecar["sampler"]) == (2, 5.0, "euler")
        assert (sidecar["prompt"], size(file)) == ("a cat", (32, 64))
        assert sidecar["loras"][0]["name"] == "style.safetensors"
        assert found["seed"] == sidecar["seed"] < 2**53

    async def test_without_sidecars_and_a_preset_that_nothing_contradicts(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        flags = ("--preset", "draft", "--no-metadata", "--preview", str(tmp_path / "now.jpg"))
        with stopped_engine(gateway) as go_on:
            generating = asyncio.create_task(
                generate(gateway, "-w", workflow, *flags, "-o", str(tmp_path / "x.png"))
            )
            await wait_until(lambda: is_read(gateway), description="the job is followed")
            go_on()
        ended = await generating
        assert (ended.status, ended.lines) == (0, [str(tmp_path / "x.png")]), ended.err
        assert "note: seed 1" in ended.err.splitlines()
        assert not (tmp_path / "x.png.json").exists()
        assert (tmp_path / "now.jpg").is_file()

    async def test_several_outputs_are_numbered(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        flags = ("--set", "5.batch_size=2", "-o", str(tmp_path / "x.png"))
        found = await told(gateway, "-w", workflow, *flags)
        assert [Path(file).name for file in found["files"]] == ["x-1.png", "x-2.png"]
        assert [Path(file).name for file in found["sidecars"]] == ["x-1.png.json", "x-2.png.json"]

    async def test_what_the_canvas_saved_and_pictures(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        drawn = written(tmp_path / "drawn.json", canvas())
        flags = ("-w", drawn, "--set", "1.width=24", "-o", str(tmp_path / "drawn.png"))
        found = await told(gateway, *flags)
        assert "was converted from the format of the canvas" in found["warnings"][0]
        assert size(tmp_path / "drawn.png") == (24, 8)
        await told(gateway, "-w", workflow, "-o", str(tmp_path / "ran.png"))
        flags = ("-w", str(tmp_path / "ran.png"), "-p", "a dog", "--dry-run")
        again = await told(gateway, *flags)
        assert again["prompt"]["6"]["inputs"]["text"] == "a dog"
        assert again["prompt"]["9"]["inputs"]["filename_prefix"] == "s"

    async def test_a_url(self, gateway: RunningGateway) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(canvas())

        async with listening(web.get("/drawn.json", answer)) as host:
            url = f"{host}/drawn.json?token=hidden"
            found = await told(gateway, "-w", url, "--set", "1.width=24", "--dry-run")
            assert found["prompt"]["1"]["inputs"]["width"] == 24
            gone = await generate(gateway, "-w", url.replace("drawn", "gone"))
            assert gone.err.startswith(f"error: {host}/gone.json?token=*** answered 404.")

    async def test_a_manifest_beside_it_names_its_parameters(
        self, gateway: RunningGateway, workflow: str
    ) -> None:
        Path(workflow).with_suffix(".yaml").write_text(PORTRAIT)
        flags = ("-p", "a face", "--set", "steps=3", "--preset", "draft", "--dry-run", "--json")
        found = await told(gateway, "-w", workflow, *flags)
        inputs = found["prompt"]["3"]["inputs"]
        assert (inputs["steps"], inputs["cfg"], inputs["sampler_name"]) == (3, 5.0, "euler")
        # A preset that no flag contradicts is told in the sidecar.
        file = Path(workflow).with_name("face.png")
        await generate(
            gateway, "-w", workflow, "-p", "a face", "--preset", "draft", "-o", str(file)
        )
        assert json.loads(file.with_name("face.png.json").read_text())["preset"] == "draft"
        refused = await generate(gateway, "-w", workflow, "--cfg", "3")
        assert refused.err.startswith("error: The workflow has no parameter for --cfg.")

    async def test_the_gateway_converts_the_file_of_a_manifest(
        self, gateway: RunningGateway, tmp_path: Path
    ) -> None:
        manifest = "parameters:\n  side: {type: integer, bind: 1.inputs.width}\n"
        (tmp_path / "d.png").write_bytes(png({"workflow": json.dumps(canvas())}))
        flags = ("-w", str(tmp_path / "d.png"), "--set", "side=40", "--dry-run")
        (tmp_path / "d.yaml").write_text(manifest)
        refused = await generate(gateway, *flags)
        assert (refused.status, "--set" in refused.err) == (1, True)
        (tmp_path / "d.yaml").write_text("workflow_file: [")
        assert "The workflow has mistakes" in (await generate(gateway, *flags)).err
        for file, named in (("d.png", "workflow_file: d.png\n"), ("d.json", "")):
            written(tmp_path / "d.json", canvas())
            (tmp_path / "d.yaml").write_text(named + manifest)
            found = await told(gateway, "-w", str(tmp_path / file), *flags[2:])
            assert found["prompt"]["1"]["inputs"]["width"] == 40
            assert "was converted from the format of the canvas" in found["warnings"][0]

    @pytest.mark.parametrize(
        ("graph", "flags", "says"),
        [
            ("loading", ("--steps", "3"), "has no sampler that --steps could be for"),
            ("loading", ("--input-image", __file__), "is no picture"),
            ("sampler", ("--lora", "nothing.safetensors"), "nothing.safetensors"),
        ],
    )
    async def test_what_has_no_place(
        self,
        gateway: RunningGateway,
        tmp_path: Path,
        graph: str,
        flags: tuple[str, ...],
        says: str,
    ) -> None:
        file = written(tmp_path / "w.json", {"loading": loading("a"), "sampler": sampler(1)}[graph])
        ended = await generate(gateway, "-w", file, *flags)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("error: ")
        assert says in ended.err


class TestUsage:
    @pytest.mark.parametrize(
        "flags",
        [
            (),
            ("-w", "x", "--lora", "a.safetensors:much"),
            ("-w", "x", "--resize", "10x10"),
        ],
    )
    async def test_what_is_no_use_of_it(self, tmp_path: Path, flags: tuple[str, ...]) -> None:
        ended = await run(environment(tmp_path), "generate", *flags)
        assert (ended.status, ended.out) == (2, "")


class TestLists:
    async def test_presets_loras_and_workflows(self, gateway: RunningGateway) -> None:
        presets = await generate(gateway, "--list-presets")
        assert presets.lines[1].split()[:3] == ["draft", "10", "5.0"]
        assert (await generate(gateway, "--list-loras")).out == "style.safetensors\n"
        listed = await run(gateway.env, "workflows", "ls")
        assert listed.lines[1].split()[:3] == ["people/portrait", "yes", "prompt,"]
        shown = json.loads((await run(gateway.env, "workflows", "show", "people/portrait")).out)
        assert shown["prompt"]["3"]["class_type"] == "KSampler"


class TestFolder:
    async def test_new_proposes_what_check_finds_nothing_wrong_with(
        self, workflow: str, tmp_path: Path
    ) -> None:
        env, manifest = environment(tmp_path), Path(workflow).with_suffix(".yaml")
        ended = await run(env, "workflows", "new", workflow, "-o", str(manifest))
        assert (ended.status, ended.out) == (0, f"{manifest}\n")
        checked = await run(env, "workflows", "check", str(tmp_path))
        assert (checked.status, checked.out) == (0, "1 workflow, nothing to change.\n"), checked
        again = await run(env, "workflows", "new", workflow, "-o", str(manifest))
        assert (again.status, again.err.splitlines()[0]) == (
            1,
            f"error: {manifest} is there already.",
        )

    async def test_check_names_file_line_and_column(self, workflow: str, tmp_path: Path) -> None:
        manifest = Path(workflow).with_suffix(".yaml")
        manifest.write_text("parameters:\n  steps: {type: integer, bind: 77.inputs.steps}\n")
        for path in (tmp_path, manifest):
            ended = await run(environment(tmp_path), "workflows", "check", str(path))
            [line] = ended.lines
            assert (ended.status, line.startswith(f"{manifest}:2:")) == (1, True)


class TestReproduce:
    async def test_a_picture_by_its_sidecar_by_what_it_holds_and_a_job_by_its_id(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        first = await told(gateway, "-w", workflow, "-o", str(tmp_path / "a.png"), "--seed", "9")
        alone = tmp_path / "alone.png"
        shutil.copyfile(tmp_path / "a.png", alone)
        for source in (first["job_id"], first["files"][0], str(alone)):
            output = ("-o", str(tmp_path / "again.png"), "--json")
            ended = await run(gateway.env, "reproduce", source, *output)
            assert ended.status == 0, ended.err
            again = json.loads(ended.out)
            assert (again["seed"], again["job_id"] != first["job_id"]) == (9, True)
            with Image.open(alone) as before, Image.open(tmp_path / "again.png") as after:
                assert before.tobytes() == after.tobytes()
                embedded = json.loads(after.info["prompt"])
            assert embedded["9"]["inputs"]["filename_prefix"] == f"{again['job_id']}_s"

    async def test_another_seed_and_other_values(
        self, gateway: RunningGateway, workflow: str, tmp_path: Path
    ) -> None:
        first = await told(gateway, "-w", workflow, "-o", str(tmp_path / "a.png"))
        (tmp_path / "a.png.json").unlink()
        for source in (first["job_id"], str(tmp_path / "a.png")):
            flags = ("--seed", "5", "--set", "steps=2", "--set", "6.text=a dog", "--dry-run")
            ended = await run(gateway.env, "reproduce", source, *flags)
            assert ended.status == 0, ended.err
            graph = json.loads(ended.out)
            assert (graph["3"]["inputs"]["seed"], graph["3"]["inputs"]["steps"]) == (5, 2)
            assert graph["6"]["inputs"]["text"] == "a dog"
            assert "changed: 3.inputs.steps: 1 -> 2" in ended.err.splitlines()

    async def test_one_that_holds_only_its_canvas(
        self, gateway: RunningGateway, tmp_path: Path
    ) -> None:
        (tmp_path / "x.png").write_bytes(png({"workflow": json.dumps(canvas())}))
        ended = await run(gateway.env, "reproduce", str(tmp_path / "x.png"), "--dry-run")
        assert (ended.status, set(json.loads(ended.out))) == (0, {"1", "2"})
        assert "does not hold the graph that ran" in ended.err

    async def test_what_tells_nothing(self, gateway: RunningGateway, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
        ended = await run(gateway.env, "reproduce", str(tmp_path / "plain.png"))
        assert (ended.status, ended.out) == (1, "")
        assert "does not tell what made it" in ended.err
        missing = await run(gateway.env, "reproduce", str(tmp_path / "none.png"))
        assert missing.err == f"error: {tmp_path / 'none.png'}: there is no such file.\n"
        unknown = await run(gateway.env, "reproduce", "nobody")
        assert (unknown.status, unknown.err.startswith("error: There is no job")) == (1, True)


class TestLocalGateway:
    async def test_one_is_started_where_none_listens_and_gone_at_the_end(
        self, tmp_path: Path
    ) -> None:
        env = environment(tmp_path, PORT=str(free_port()))
        put_model(tmp_path / "model_dir")
        file = written(tmp_path / "w.json", sampler(1))
        ended = await run(env, "generate", "-w", file, "-o", str(tmp_path / "x.png"), "--json")
        assert ended.status == 0, ended.err
        assert json.loads(ended.out)["files"] == [str(tmp_path / "x.png")]
        assert "starting one, with the embedded engine." in ended.err.splitlines()[0]
        await wait_until(lambda: _is_alone(tmp_path), description="nothing is left behind")

    async def test_ctrl_c_leaves_nothing_behind(self, tmp_path: Path) -> None:
        env = environment(tmp_path, PORT=str(free_port()))
        put_model(tmp_path / "model_dir")
        file = written(tmp_path / "w.json", sampler(10_000))
        process = await begin(env, "generate", "-w", file, "-o", str(tmp_path))
        assert process.stderr is not None
        while not (await process.stderr.readline()).startswith(b"running"):
            pass
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, b"Traceback" in err) == (130, False), err
        assert _is_alone(tmp_path)

    async def test_why_it_does_not_start(self, tmp_path: Path) -> None:
        env = environment(tmp_path, PORT=str(free_port()), OUTPUT_TTL_S="soon", JOB_TTL_S="soon")
        ended = await run(env, "generate", "--list-presets")
        assert (ended.status, ended.out) == (1, "")
        assert "JOB_TTL_S" in ended.err


def _is_alone(folder: Path) -> bool:
    """Whether no process is left whose state lies in this folder."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("STATE_DIR", "").startswith(str(folder)):
                return False
        except (psutil.Error, OSError):
            continue
    return True
