"""WORKFLOW_DIR with what people have: files that the canvas saved, and pictures out of ComfyUI."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance import faulty
from tests.acceptance.faulty import Gateway, Place
from tests.contract.canvas_folder import CANVAS, GRAPH, OBJECT_INFO, canvas, plain, png
from tests.docs.running import ROOT, environment
from tests.waiting import wait_until

MANIFEST = """\
route: /squares
parameters:
  side: {type: integer, default: 16, bind: [1.inputs.width, {title: Background, input: height}]}
"""


def _written(place: Place) -> Path:
    folder = place.folder / "workflows"
    folder.mkdir()
    (folder / "square.json").write_text(json.dumps(CANVAS))
    (folder / "square.yaml").write_text(MANIFEST)
    return folder


async def _listed(gateway: Gateway, name: str) -> dict[str, Any]:
    found = (await gateway.ask("GET", "/workflows")).body["workflows"]
    return next((one for one in found if one["name"] == name), {})


async def test_from_a_comfyui_that_is_not_there_yet_to_a_picture_of_its_own(place: Place) -> None:
    folder = _written(place)
    settings = {"WORKFLOW_DIR": str(folder), "WARMUP_WORKFLOW": "square"}
    async with faulty.gateway(place, "--startup-delay 3", ready=False, **settings) as gateway:
        found = await _listed(gateway, "square")
        assert (found["available"], found["mistakes"]) == (False, [])
        assert "as soon as ComfyUI has told" in found["waits_for"]
        assert '"mistakes":0,"waiting":1' in (place.folder / "gateway.log").read_text()
        for path in ("/workflow/square", "/squares"):
            answer = await gateway.ask("POST", path, {})
            assert (answer.status, answer.body["code"]) == (503, "not_ready")
            assert float(answer.headers["Retry-After"]) > 0

        await gateway.until_ready(20)
        found = await _listed(gateway, "square")
        assert (found["available"], found["warnings"]) == (True, [])
        assert "waits_for" not in found
        answer = await gateway.ask("POST", "/squares", {"input": {"side": 32}})
        assert answer.status == 200, answer.body
        assert answer.body["prompt"]["1"]["inputs"]["width"] == 32
        assert plain((await gateway.ask("GET", "/workflow/square")).body["prompt"]) == GRAPH

        # The picture that came of it is a workflow as well, once a manifest says so.
        (folder / "again.png").write_bytes(base64.b64decode(answer.body["images"][0]))
        (folder / "again.yaml").write_text("workflow_file: again.png\n")

        async def is_there() -> bool:
            return bool((await _listed(gateway, "again")).get("available"))

        await wait_until(is_there, description="the picture is in service")
        answer = await gateway.ask("POST", "/workflow/again", {})
        assert answer.body["prompt"]["1"]["inputs"]["width"] == 32

        unknown = canvas()
        unknown["nodes"][0]["type"] = "NoSuchNode"
        (folder / "square.json").write_text(json.dumps(unknown))

        async def is_told() -> list[dict[str, Any]]:
            return list((await _listed(gateway, "square"))["mistakes"])

        [wrong] = await wait_until(is_told, description="the mistake is told")
        assert (wrong["file"], wrong["line"]) == ("square.json", 1)
        assert "NoSuchNode" in wrong["message"]
        assert (await gateway.ask("POST", "/squares", {})).status == 200


async def test_a_picture_warms_up(place: Place) -> None:
    file = place.folder / "warm.png"
    file.write_bytes(png(workflow=CANVAS))
    async with faulty.gateway(place, WARMUP_PROMPT_FILE=str(file)) as gateway:
        await gateway.until_logged("warming up")
        assert place.written() == []


def test_the_check_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "square.json").write_text(json.dumps(CANVAS))
    (folder / "square.yaml").write_text(MANIFEST)
    (folder / "other.json").write_text(json.dumps(GRAPH))
    info = tmp_path / "object_info.json"

    def checked(*arguments: str) -> tuple[int, str, str]:
        command = (sys.executable, "-m", "gateway", "workflows", "check", str(folder), *arguments)
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr

    status, told, notes = checked()
    assert (status, told) == (0, "1 workflow, nothing to change; 1 not checked.\n")
    assert "not checked: square, in the format of the canvas" in notes

    info.write_text(json.dumps(OBJECT_INFO))
    assert checked("--object-info", str(info)) == (0, "2 workflows, nothing to change.\n", "")

    info.write_text(json.dumps({"SaveImage": OBJECT_INFO["SaveImage"]}))
    status, told, _ = checked("--object-info", str(info))
    assert status == 1
    assert told.startswith(f"{folder}/square.json:1:")
    assert "comfyui-backgrounds" in told
